"""Prepares the databases before Airflow starts: its own, and the warehouse."""

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from dev.servers import databases
from dev.servers.binaries import interpreter
from dev.servers.errors import StepFailed
from dev.stack.home import REPOSITORY, Home
from etl.declare.queue import Queue

_OUTPUT_TAIL_LINES = 20


def metadata_stamp(queues: Sequence[Queue]) -> str:
    """Return what is remarked on a metadata database that is ready for this Airflow and these pools."""
    pools = hashlib.sha256(repr([queue.pools for queue in queues]).encode())
    return f"Airflow {airflow_version()}, pools {pools.hexdigest()[:12]}"


def airflow_version() -> str:
    """Return the version of the installed Airflow, without importing it."""
    return version("apache-airflow")


def prepare_metadata(url: str, queues: Sequence[Queue], *, environment: Mapping[str, str]) -> None:
    """Migrate Airflow's database and create its pools, unless a remark on the database says that it is done.

    Raises
    ------
    StepFailed
        If the migration fails; it is run again at the next start.
    """
    wanted = metadata_stamp(queues)
    if databases.read_comment(url) == wanted:
        return
    command = (str(interpreter()), "-m", "deploy.metadata")
    _run("the migration of Airflow's database", command, directory=REPOSITORY, environment=environment)
    databases.write_comment(url, wanted)


def prepare_warehouse(home: Home, *, environment: Mapping[str, str]) -> None:
    """Migrate the warehouse's schema.

    Raises
    ------
    StepFailed
        If the migration fails; the message holds its last lines.
    """
    command = (str(interpreter()), "-P", "-m", "etl", "migrate")
    _run("`python -m etl migrate`", command, directory=home.folder, environment=environment)


def _run(step: str, command: Sequence[str], *, directory: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise StepFailed(step, code=done.returncode, output=done.stdout.splitlines()[-_OUTPUT_TAIL_LINES:])
