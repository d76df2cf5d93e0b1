"""Calls of Airflow's REST API that only the demo, benchmarks and tests make: unpausing, waiting, backfills, logs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode

import stamina

from etl.clients.airflow import AirflowRefused, AirflowUnavailable, Session
from etl.settings import Endpoint

_TIMEOUT = timedelta(seconds=30)
_POLL_SECONDS = 1.0


class AirflowTimeout(Exception):
    """Something that Airflow should do did not happen in time."""

    def __init__(self, waited_for: str, seconds: float) -> None:
        super().__init__(f"Airflow: {waited_for} did not come within {seconds:.0f} s; see `make logs`.")


@dataclass(frozen=True)
class DagRun:
    """A run of a Dag.

    Parameters
    ----------
    run_id
        Its id.
    state
        `queued`, `running`, `success` or `failed`.
    """

    run_id: str
    state: str


class AirflowApi:
    """A session with Airflow's API; a context manager.

    Parameters
    ----------
    url
        Address of the API server.
    user, password
        Login of the web UI.
    """

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self.url = url
        self._session = Session(Endpoint(url, login=user, password=password), timeout=_TIMEOUT)

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: a session holds no connection."""

    def wait_for_dag(self, dag_id: str, *, seconds: float = 90.0) -> None:
        """Wait until Airflow has parsed a Dag.

        Raises
        ------
        AirflowTimeout
            If it has not in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._get(f"/dags/{dag_id}")
            except (AirflowRefused, AirflowUnavailable) as error:
                if time.monotonic() > deadline:
                    raise AirflowTimeout(f"the Dag {dag_id}", seconds) from error
                time.sleep(_POLL_SECONDS)
            else:
                return

    def schedules(self) -> dict[str, str | None]:
        """Return the schedules of all Dags that are not gone, as the web UI shows them, by Dag."""
        dags = self._get("/dags", limit=1_000)["dags"]
        return {dag["dag_id"]: dag["timetable_summary"] for dag in dags}

    def import_errors(self) -> dict[str, str]:
        """Return the import errors, by file."""
        errors = self._get("/importErrors", limit=1_000)["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def start_run(self, dag_id: str) -> DagRun:
        """Unpause a Dag and return its next run: the scheduled run if one is due, otherwise a manual run."""
        due = self._get(f"/dags/{dag_id}")["next_dagrun_run_after"]
        known_run_ids = self.unpause(dag_id)
        if due is not None and datetime.fromisoformat(due) <= datetime.now(UTC):
            return self.wait_for_new_run(dag_id, known_run_ids)
        return self.trigger(dag_id)

    def trigger(self, dag_id: str, **conf: object) -> DagRun:
        """Start a manual run of a Dag, with values for its params, and return it."""
        return _parse_run(
            self._send("POST", f"/dags/{dag_id}/dagRuns", logical_date=datetime.now(UTC).isoformat(), conf=conf)
        )

    def backfill(self, dag_id: str, first: date, last: date, *, max_active_runs: int) -> int:
        """Start a backfill of some days, the last included, as `airflow backfill create` does, and return its id."""
        days = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        backfill = self._send("POST", "/backfills", dag_id=dag_id, **days, max_active_runs=max_active_runs)
        return int(backfill["id"])

    def cancel_backfill(self, backfill_id: int, dag_id: str) -> None:
        """Cancel a backfill, and fail all running runs of its Dag, at most 100."""
        self._send("PUT", f"/backfills/{backfill_id}/cancel")
        for run in self._get(f"/dags/{dag_id}/dagRuns", state="running", limit=100)["dag_runs"]:
            self.fail_run(dag_id, run["dag_run_id"])

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """Fail a run and its running tasks; retry if Airflow refuses, since it may be writing the same rows."""
        for attempt in stamina.retry_context(on=(AirflowRefused, AirflowUnavailable), attempts=5):
            with attempt:
                self._send("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", state="failed")

    def unpause(self, dag_id: str) -> set[str]:
        """Unpause a Dag and return the ids of the runs that it had before, at most 100."""
        known_run_ids = {run.run_id for run in self.new_runs(dag_id, set())}
        self._send("PATCH", f"/dags/{dag_id}", is_paused=False)
        return known_run_ids

    def clear_failed(self, dag_id: str, run_id: str) -> None:
        """Clear the failed tasks of a run, so that they and the tasks after them run again."""
        options = {"dry_run": False, "only_failed": True, "reset_dag_runs": True}
        self._send("POST", f"/dags/{dag_id}/clearTaskInstances", dag_run_id=run_id, **options)

    def get_run(self, dag_id: str, run_id: str) -> DagRun:
        """Return a run in its current state."""
        return _parse_run(self._get(f"/dags/{dag_id}/dagRuns/{run_id}"))

    def failed_tasks(self, dag_id: str, run_id: str) -> list[str]:
        """Return the failed tasks of a run, at most 100, each with its map index, such as `chunk.load[3]`."""
        failed = self._get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", state="failed", limit=100)
        return [f"{task['task_id']}[{task['map_index']}]" for task in failed["task_instances"]]

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, map_index: int, attempt: int) -> str:
        """Return the log of a task's attempt as the web UI shows it, with its sources, as JSON."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        return json.dumps(self._get(path, map_index=map_index, full_content="true"))

    def wait_for_new_run(self, dag_id: str, known_run_ids: set[str], *, seconds: float = 90.0) -> DagRun:
        """Wait until a Dag has a run whose id is not known, and return it.

        Raises
        ------
        AirflowTimeout
            If there is none in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if runs := self.new_runs(dag_id, known_run_ids):
                return runs[0]
            time.sleep(_POLL_SECONDS)
        raise AirflowTimeout(f"a run of {dag_id}", seconds)

    def new_runs(self, dag_id: str, known_run_ids: set[str]) -> list[DagRun]:
        """Return the runs of a Dag whose ids are not known, the latest first, at most 100."""
        runs = map(_parse_run, self._get(f"/dags/{dag_id}/dagRuns", order_by="-run_after", limit=100)["dag_runs"])
        return [run for run in runs if run.run_id not in known_run_ids]

    def _get(self, path: str, **query: str | int) -> Any:  # noqa: ANN401 - JSON
        url = f"/api/v2{path}{'?' if query else ''}{urlencode(query)}"
        # On a busy machine, Airflow may not answer in time.
        return json.loads(stamina.RetryingCaller(attempts=3).on(AirflowUnavailable)(self._session.request, "GET", url))

    def _send(self, method: str, path: str, **payload: object) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self._session.request(method, f"/api/v2{path}", payload))


def _parse_run(run: dict[str, Any]) -> DagRun:
    return DagRun(run_id=run["dag_run_id"], state=run["state"])
