"""Creates a Postgres data folder, completely or not at all."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from dev.servers import private_files
from dev.servers.errors import DataFromOtherVersion, InitFailed
from dev.servers.postgres import ENCODING, SUPERUSER, Cluster
from dev.servers.privileges import Account


def create_data_folder(
    cluster: Cluster, *, password: str, settings: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Create the data folder of a cluster unless it exists.

    Parameters
    ----------
    cluster
        Where the data folder is and how Postgres is run.
    password
        Of the superuser; passed to `initdb` in a file, never on a command line.
    settings
        Server settings; with `fsync` off nothing is flushed to disk here either.
    say
        Called with a sentence if an incomplete data folder was removed.

    Raises
    ------
    DataFromOtherVersion
        If the data was written by another major version.
    InitFailed
        If `initdb` fails.
    """
    if cluster.partial_data.exists():
        shutil.rmtree(cluster.partial_data)
        say(f"Removed {cluster.partial_data}, which an interrupted start left incomplete.")
    if cluster.data.exists():
        _check_version(cluster)
        return
    password_file = cluster.data.with_name("password")
    private_files.write(password_file, password)
    _chown(password_file, cluster.owner)
    try:
        _initdb(cluster, password_file, settings)
    finally:
        password_file.unlink()
    cluster.partial_data.rename(cluster.data)


def _initdb(cluster: Cluster, password_file: Path, settings: Mapping[str, str]) -> None:
    command = cluster.command(
        "initdb",
        f"--pgdata={cluster.partial_data}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        f"--encoding={ENCODING}",
        # Sorts by code point and maps case alike on every system, whatever its locales.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
        *(("--no-sync",) if settings.get("fsync") == "off" else ()),
    )
    code, output = _run_as(command, cluster.owner)
    if code != 0:
        shutil.rmtree(cluster.partial_data, ignore_errors=True)
        raise InitFailed(cluster.data, output)


def _run_as(command: tuple[str, ...], owner: Account | None) -> tuple[int, str]:
    try:
        result = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
            user=None if owner is None else owner.uid,
            group=None if owner is None else owner.gid,
            extra_groups=None if owner is None else [],
            check=False,
        )
    except OSError as error:
        return error.errno or 1, str(error)
    return result.returncode, result.stdout.strip()


def _check_version(cluster: Cluster) -> None:
    found_version = (cluster.data / "PG_VERSION").read_text().strip()
    expected_version = cluster.installation.name.removeprefix("pginstall")
    if expected_version and found_version != expected_version:
        raise DataFromOtherVersion(cluster.data, found_version=found_version, expected_version=expected_version)


def _chown(path: Path, owner: Account | None) -> None:
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)
