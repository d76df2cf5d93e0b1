"""Kills the container of a worker while it downloads a chunk."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dev.compose.project import Project

_RUNNING = """
select run_id, task_id, map_index, try_number, hostname
from task_instance
where dag_id = 'etl_transactions' and task_id like '%download%' and state = 'running'
order by start_date
limit 1
"""
_OPEN = "select 1 from etl.chunks where attempts > 0 and outcome is null and entity = 'transactions' limit 1"
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


def wait_for_chunk(project: Project) -> Attempt:
    """Return the first download of a chunk that is seen under way.

    Raises
    ------
    TimeoutError
        If there is none in time.
    """
    deadline = time.monotonic() + _WITHIN
    while time.monotonic() < deadline:
        if project.rows("sluice", _OPEN) and (found := project.rows("airflow", _RUNNING)):
            run_id, task_id, map_index, try_number, hostname = found[0]
            return Attempt(run_id, task_id, int(map_index), int(try_number), hostname)
        time.sleep(_POLL)
    message = f"no chunk was being downloaded within {_WITHIN:.0f} s"
    raise TimeoutError(message)


def kill(project: Project, attempt: Attempt) -> None:
    """Kill the container in which an attempt is under way, as a lack of memory or of power would."""
    project.run(("docker", "kill", "--signal=KILL", attempt.hostname))


def tried_again(project: Project, run_id: str) -> int:
    """Return how many chunks of a run were downloaded more than once."""
    rows = project.rows(
        "sluice",
        f"select count(*) from etl.chunks where run_id = '{run_id}' and entity = 'transactions' and attempts > 1",  # noqa: S608
    )
    return int(rows[0][0])
