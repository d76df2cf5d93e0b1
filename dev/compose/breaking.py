"""Kills the container of a worker while it downloads a chunk."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dev.compose.project import Project

_RUNNING = """
select run_id, task_id, map_index, try_number, hostname
from task_instance
where dag_id = 'etl_transactions' and task_id = 'chunk.download' and state = 'running' and map_index >= {first}
order by start_date desc
limit 1
"""
_AGAIN = """
select count(*)
from task_instance
where dag_id = 'etl_transactions' and run_id = '{run_id}' and task_id like 'chunk.%' and try_number > 1
"""
_WITHIN = 180.0
_POLL = 0.3


@dataclass(frozen=True)
class Attempt:
    """A download that is under way.

    Parameters
    ----------
    hostname
        Of the container, whose id begins with it.
    """

    run_id: str
    task_id: str
    map_index: int
    try_number: int
    hostname: str


def wait_for_download(project: Project, *, first: int) -> Attempt:
    """Return a download of a chunk that is under way.

    Parameters
    ----------
    project
        Where.
    first
        The first chunk that counts: those before have so little to read that they would be over at once.

    Raises
    ------
    TimeoutError
        If there is none in time.
    """
    deadline = time.monotonic() + _WITHIN
    while time.monotonic() < deadline:
        if found := project.rows("airflow", _RUNNING.format(first=first)):
            run_id, task_id, map_index, try_number, hostname = found[0]
            return Attempt(run_id, task_id, int(map_index), int(try_number), hostname)
        time.sleep(_POLL)
    message = f"no chunk was being downloaded within {_WITHIN:.0f} s"
    raise TimeoutError(message)


def kill(project: Project, attempt: Attempt) -> None:
    """Kill the container in which an attempt is under way, as a lack of memory or of power would."""
    project.run(("docker", "kill", "--signal=KILL", attempt.hostname))


def tried_again(project: Project, run_id: str) -> int:
    """Return how many tasks of a run's chunks were begun more than once."""
    ((count,),) = project.rows("airflow", _AGAIN.format(run_id=run_id))
    return int(count)
