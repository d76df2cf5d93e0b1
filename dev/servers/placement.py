"""Decides once for each home where the embedded Postgres and its data are, and how it is run."""

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
from dev.servers.privileges import (
    Account,
    Privileges,
    choose_privileges,
    has_name,
    namespace_works,
    unprivileged_account,
)

_COPIED_FOLDERS = ("bin", "lib", "share")


@dataclass(frozen=True)
class PostgresPaths:
    """The folders of one home that Postgres may use.

    Parameters
    ----------
    folder
        Folder of the home for the data.
    relocation_file
        File with the path of the folder used instead, if an unprivileged account cannot reach the home's.
    """

    folder: Path
    relocation_file: Path


def place_cluster(
    paths: PostgresPaths, installation: Path, *, privileges: Privileges | None, say: Callable[[str], None]
) -> Cluster:
    """Return the cluster of a home, which may not exist yet; copy the binaries if another account must run them.

    Parameters
    ----------
    paths
        The home's folders.
    installation
        The wheel's Postgres: the folder that holds `bin`.
    privileges
        How to run it; None chooses the best way that works here.
    say
        Called with a sentence about each difference from the last start.

    Raises
    ------
    PrivilegesUnavailable
        If there is data that only a user namespace can open, and namespaces are refused.
    AccountMissing
        If the caller is root or has no name, and there is no account to run Postgres under.
    AccountUnnamed
        If the caller has no name, and user namespaces are refused.
    """
    data = paths.folder / "data"
    if (cluster := _find_relocated(paths, installation, say=say)) is not None:
        return cluster
    chosen = privileges or _best_privileges(paths, installation)
    if chosen is Privileges.DIRECT:
        return Cluster(installation, data, chosen)
    account = unprivileged_account()
    if chosen is Privileges.NAMESPACE:
        return Cluster(installation, data, chosen, account)
    if data.exists():
        raise PrivilegesUnavailable(data)
    return _relocate(paths, installation, account, say=say)


def data_folders(paths: PostgresPaths) -> list[Path]:
    """Return every folder in which the Postgres of a home may have its data."""
    text = private_files.read(paths.relocation_file)
    return [paths.folder / "data", *([Path(json.loads(text)["folder"]) / "data"] if text else [])]


def _best_privileges(paths: PostgresPaths, installation: Path) -> Privileges:
    program = installation / "bin" / "initdb"
    return choose_privileges(
        uid=os.geteuid(),
        is_named=has_name(os.geteuid()),
        namespace_works=lambda: namespace_works(unprivileged_account(), program=program, folder=paths.folder),
    )


def _find_relocated(paths: PostgresPaths, installation: Path, *, say: Callable[[str], None]) -> Cluster | None:
    text = private_files.read(paths.relocation_file)
    if text is None:
        return None
    folder = Path(json.loads(text)["folder"])
    account = unprivileged_account()
    if _belongs_to(folder, account.uid):
        return _relocated_cluster(folder, installation.name, account)
    if _belongs_to(folder, os.geteuid()):
        shutil.rmtree(folder)
    say(f"{folder}, where Postgres had its data, is missing or incomplete; starting with empty databases.")
    paths.relocation_file.unlink()
    return None


def _relocate(paths: PostgresPaths, installation: Path, account: Account, *, say: Callable[[str], None]) -> Cluster:
    folder = Path(tempfile.mkdtemp(prefix="sluice-postgres-")).resolve()
    private_files.write(paths.relocation_file, json.dumps({"folder": str(folder)}))
    # Binaries search for shared libraries beside the package, so its layout is kept.
    package = installation.parent
    for name in _COPIED_FOLDERS:
        shutil.copytree(installation / name, folder / POSTGRES_PACKAGE / installation.name / name, symlinks=True)
    for libraries in (package / ".dylibs", package.with_suffix(".libs")):
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.relative_to(package.parent), symlinks=True)
    # The folder itself comes last: its owner shows whether the copy is complete.
    for path in (*folder.rglob("*"), folder):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    say(f"Postgres may not run as root, nor in a user namespace here; it runs as {account.name} from {folder}.")
    return _relocated_cluster(folder, installation.name, account)


def _relocated_cluster(folder: Path, installation: str, account: Account) -> Cluster:
    return Cluster(folder / POSTGRES_PACKAGE / installation, folder / "data", Privileges.DROPPED, account)


def _belongs_to(folder: Path, uid: int) -> bool:
    """Return whether a folder is the one created here: others may write to the temporary directory too."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid and stat.S_IMODE(status.st_mode) == stat.S_IRWXU
