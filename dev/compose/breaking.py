"""Killing the container of a worker while it downloads a chunk."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dev.compose.project import Project

_SELECT_RUNNING = """
select run_id, task_id, map_index, try_number, hostname
from task_instance
where dag_id = 'etl_transactions' and task_id = 'chunk.download' and state = 'running' and map_index >= {first}
order by start_date desc
limit 1
"""
_COUNT_RETRIED = """
select count(*)
from task_instance
where dag_id = 'etl_transactions' and run_id = '{run_id}' and task_id like 'chunk.%' and try_number > 1
"""
_TIMEOUT_SECONDS = 180.0
_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class TaskAttempt:
    """An attempt of a download task.

    Parameters
    ----------
    hostname
        Host name of the worker's container; a prefix of the container's id.
    """

    run_id: str
    task_id: str
    map_index: int
    try_number: int
    hostname: str


def wait_for_download(project: Project, *, first: int) -> TaskAttempt:
    """Wait for a running download of a chunk, and return it.

    Parameters
    ----------
    project
        The project whose Airflow runs it.
    first
        First chunk that counts; earlier chunks have so little to read that they would finish too soon.

    Raises
    ------
    TimeoutError
        If no download runs in time.
    """
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if rows := project.query("airflow", _SELECT_RUNNING.format(first=first)):
            run_id, task_id, map_index, try_number, hostname = rows[0]
            return TaskAttempt(run_id, task_id, int(map_index), int(try_number), hostname)
        time.sleep(_POLL_SECONDS)
    message = f"no download of a chunk was running within {_TIMEOUT_SECONDS:.0f} s"
    raise TimeoutError(message)


def kill(project: Project, attempt: TaskAttempt) -> None:
    """Kill the container in which an attempt runs, as the kernel does when memory runs out."""
    project.run(("docker", "kill", "--signal=KILL", attempt.hostname))


def count_retried(project: Project, run_id: str) -> int:
    """Return how many tasks of a run's chunks were started more than once."""
    ((count,),) = project.query("airflow", _COUNT_RETRIED.format(run_id=run_id))
    return int(count)
