"""Makes a Postgres data folder, completely or not at all."""

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
    """Make the data folder of a cluster unless it is there.

    Parameters
    ----------
    cluster
        Where and how.
    password
        Of the superuser; reaches `initdb` through a file, never a command line.
    settings
        Server settings; with `fsync` off nothing is flushed to disk here either.
    say
        Is told if what an interrupted start left behind was removed.

    Raises
    ------
    DataFromOtherVersion
        If the data was written by another major version.
    InitFailed
        If `initdb` fails.
    """
    if cluster.partial_data.exists():
        shutil.rmtree(cluster.partial_data)
        say(f"Removed {cluster.partial_data}, which an interrupted start left half-made.")
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
        # Sorts and folds by code point on every system, whatever locales it has.
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
        done = subprocess.run(
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
    return done.returncode, done.stdout.strip()


def _check_version(cluster: Cluster) -> None:
    found = (cluster.data / "PG_VERSION").read_text().strip()
    wanted = cluster.installation.name.removeprefix("pginstall")
    if wanted and found != wanted:
        raise DataFromOtherVersion(cluster.data, found_version=found, expected_version=wanted)


def _chown(path: Path, owner: Account | None) -> None:
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)
