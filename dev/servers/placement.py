"""Where the embedded Postgres and its data live, and how it is run: decided once for each home."""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev.servers import private_files
from dev.servers.binaries import POSTGRES_PACKAGE
from dev.servers.errors import PrivilegesUnavailable
from dev.servers.postgres import Cluster
from dev.servers.privileges import Account, Privileges, choose, has_name, namespace_works, unprivileged_account

_COPIED = ("bin", "lib", "share")


@dataclass(frozen=True)
class Places:
    """The folders of one home that Postgres may use.

    Parameters
    ----------
    folder
        Folder of the home for the data.
    elsewhere
        File that names the folder used instead, if the home's cannot be reached without privileges.
    """

    folder: Path
    elsewhere: Path


def place(places: Places, installation: Path, *, privileges: Privileges | None, say: Callable[[str], None]) -> Cluster:
    """Return the cluster of a home, made or not; copies the binaries if they must be run by another account.

    Parameters
    ----------
    places
        The home's folders.
    installation
        The wheel's Postgres: the folder that holds `bin`.
    privileges
        The way to run it; None chooses the best that works here.
    say
        Is told, in a sentence, what differs from the last start.

    Raises
    ------
    PrivilegesUnavailable
        If there is data that only a user namespace can open, and namespaces are refused.
    AccountMissing
        If the caller is root or has no name, and there is no account to run Postgres under.
    AccountUnnamed
        If the caller has no name, and user namespaces are refused.
    """
    data = places.folder / "data"
    if (cluster := _placed_elsewhere(places, installation, say=say)) is not None:
        return cluster
    chosen = privileges or _best(places, installation)
    if chosen is Privileges.DIRECT:
        return Cluster(installation, data, chosen)
    account = unprivileged_account()
    if chosen is Privileges.NAMESPACE:
        return Cluster(installation, data, chosen, account)
    if data.exists():
        raise PrivilegesUnavailable(data)
    return _place_elsewhere(places, installation, account, say=say)


def data_folders(places: Places) -> list[Path]:
    """Return every folder in which the Postgres of a home may have its data."""
    text = private_files.read(places.elsewhere)
    return [places.folder / "data", *([Path(json.loads(text)["folder"]) / "data"] if text else [])]


def _best(places: Places, installation: Path) -> Privileges:
    program = installation / "bin" / "initdb"
    return choose(
        uid=os.geteuid(),
        named=has_name(os.geteuid()),
        namespace_works=lambda: namespace_works(unprivileged_account(), program=program, folder=places.folder),
    )


def _placed_elsewhere(places: Places, installation: Path, *, say: Callable[[str], None]) -> Cluster | None:
    text = private_files.read(places.elsewhere)
    if text is None:
        return None
    folder = Path(json.loads(text)["folder"])
    account = unprivileged_account()
    if _belongs_to(folder, account.uid):
        return _dropped(folder, installation.name, account)
    if _belongs_to(folder, os.geteuid()):
        shutil.rmtree(folder)
    say(f"{folder}, where Postgres had its data, is gone or half-made; beginning with empty databases.")
    places.elsewhere.unlink()
    return None


def _place_elsewhere(places: Places, installation: Path, account: Account, *, say: Callable[[str], None]) -> Cluster:
    folder = Path(tempfile.mkdtemp(prefix="sluice-postgres-")).resolve()
    private_files.write(places.elsewhere, json.dumps({"folder": str(folder)}))
    # The shared libraries are looked for beside the package, so its shape is kept.
    package = installation.parent
    for name in _COPIED:
        shutil.copytree(installation / name, folder / POSTGRES_PACKAGE / installation.name / name, symlinks=True)
    for libraries in (package / ".dylibs", package.with_suffix(".libs")):
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.relative_to(package.parent), symlinks=True)
    # The folder itself last: whose it is tells whether the copy is complete.
    for path in (*folder.rglob("*"), folder):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    say(f"Postgres may not run as root, nor in a user namespace here; it runs as {account.name} from {folder}.")
    return _dropped(folder, installation.name, account)


def _dropped(folder: Path, installation: str, account: Account) -> Cluster:
    return Cluster(folder / POSTGRES_PACKAGE / installation, folder / "data", Privileges.DROPPED, account)


def _belongs_to(folder: Path, uid: int) -> bool:
    """Tell whether a folder is the one that was made: others may write to the temporary directory too."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
