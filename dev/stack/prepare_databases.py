"""Preparation of Airflow's database and the warehouse, before Airflow starts."""

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
_WARNING = "warning: "


def metadata_stamp(queues: Sequence[Queue]) -> str:
    """Return the comment that marks a metadata database as ready for this version of Airflow and these pools."""
    pools = hashlib.sha256(repr([queue.pools for queue in queues]).encode())
    return f"Airflow {airflow_version()}, pools {pools.hexdigest()[:12]}"


def airflow_version() -> str:
    """Return the version of the installed Airflow, without importing it."""
    return version("apache-airflow")


def prepare_metadata(url: str, queues: Sequence[Queue], *, environment: Mapping[str, str]) -> None:
    """Migrate Airflow's database and create its pools, unless the comment on the database marks it as ready.

    Raises
    ------
    StepFailed
        If the migration fails; the next start runs it again.
    """
    stamp = metadata_stamp(queues)
    if databases.read_comment(url) == stamp:
        return
    command = (str(interpreter()), "-m", "deploy.metadata")
    _run("the migration of Airflow's database", command, directory=REPOSITORY, environment=environment)
    databases.write_comment(url, stamp)


def prepare_warehouse(home: Home, *, environment: Mapping[str, str]) -> list[str]:
    """Migrate the warehouse's schema, and return the lines that warn of wrong declarations, which stop no others.

    Raises
    ------
    StepFailed
        If the migration fails; the message holds the end of its output.
    """
    command = (str(interpreter()), "-P", "-m", "etl", "migrate")
    lines = _run("`sluice migrate`", command, directory=home.folder, environment=environment)
    return [line for line in lines if line.startswith(_WARNING)]


def _run(step: str, command: Sequence[str], *, directory: Path, environment: Mapping[str, str]) -> list[str]:
    result = subprocess.run(
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
    if result.returncode != 0:
        raise StepFailed(step, code=result.returncode, output=result.stdout.splitlines()[-_OUTPUT_TAIL_LINES:])
    return result.stdout.splitlines()
