"""Airflow's REST API, as far as the demo needs it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import TracebackType
from typing import Any, Self

import httpx
import stamina

_POLL_SECONDS = 1.0


class AirflowTimeout(Exception):
    """Airflow did not do in time what it was asked for."""

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
    """A session with Airflow; a context manager.

    Parameters
    ----------
    url
        Address of the API server.
    user, password
        Login of the web UI.
    """

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
        self._login = {"username": user, "password": password}

    def __enter__(self) -> Self:
        """Log in."""
        try:
            answer = self._client.post("/auth/token", json=self._login).raise_for_status()
        except httpx.HTTPError:
            self._client.close()
            raise
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close the session."""
        self._client.close()

    def wait_for_dag(self, dag_id: str, *, seconds: float = 90.0) -> None:
        """Wait until a Dag was parsed.

        Raises
        ------
        AirflowSilent
            If it is not there in time.
        """
        deadline = time.monotonic() + seconds
        while self._client.get(f"/api/v2/dags/{dag_id}").status_code != httpx.codes.OK:
            if time.monotonic() > deadline:
                raise AirflowTimeout(f"the Dag {dag_id}", seconds)
            time.sleep(_POLL_SECONDS)

    def start_run(self, dag_id: str) -> DagRun:
        """Unpause a Dag and return its next run: the scheduled one that is due, or else a manual one."""
        due = self._get(f"/dags/{dag_id}")["next_dagrun_run_after"]
        known = self.unpause(dag_id)
        if due is not None and datetime.fromisoformat(due) <= datetime.now(UTC):
            return self.wait_for_new_run(dag_id, known)
        return self.trigger(dag_id)

    def trigger(self, dag_id: str, **conf: object) -> DagRun:
        """Start a manual run of a Dag, with values for its params, and return it."""
        asked = {"logical_date": datetime.now(UTC).isoformat(), "conf": conf}
        return _parse_run(self._client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=asked).raise_for_status().json())

    def backfill(self, dag_id: str, first: date, last: date, *, max_active_runs: int) -> int:
        """Start a backfill of some days, the last included, as `airflow backfill create` does, and return its id."""
        days = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        asked = {"dag_id": dag_id, **days, "max_active_runs": max_active_runs}
        return int(self._client.post("/api/v2/backfills", json=asked).raise_for_status().json()["id"])

    def cancel_backfill(self, backfill_id: int, dag_id: str) -> None:
        """End a backfill, and those of its runs that are under way, which are all runs of the Dag that are."""
        self._client.put(f"/api/v2/backfills/{backfill_id}/cancel").raise_for_status()
        for run in self._get(f"/dags/{dag_id}/dagRuns", state="running", limit=100)["dag_runs"]:
            self.fail_run(dag_id, run["dag_run_id"])

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """End a run, and its tasks that are under way; Airflow, which may be writing the same rows, is asked again."""
        for attempt in stamina.retry_context(on=httpx.HTTPStatusError, attempts=5):
            with attempt:
                ended = self._client.patch(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})
                ended.raise_for_status()

    def unpause(self, dag_id: str) -> set[str]:
        """Unpause a Dag and return the ids of the runs that it had before, at most 100."""
        known = {run.run_id for run in self._list_runs(dag_id)}
        self._client.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        return known

    def clear_failed(self, dag_id: str, run_id: str) -> None:
        """Run the failed tasks of a run again, and what follows them."""
        asked = {"dry_run": False, "dag_run_id": run_id, "only_failed": True, "reset_dag_runs": True}
        self._client.post(f"/api/v2/dags/{dag_id}/clearTaskInstances", json=asked).raise_for_status()

    def get_run(self, dag_id: str, run_id: str) -> DagRun:
        """Return a run as it is now."""
        return _parse_run(self._get(f"/dags/{dag_id}/dagRuns/{run_id}"))

    def failed_tasks(self, dag_id: str, run_id: str) -> list[str]:
        """Return the tasks of a run that failed, at most 100, each with its place in the map."""
        found = self._get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", state="failed", limit=100)
        return [f"{task['task_id']}[{task['map_index']}]" for task in found["task_instances"]]

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, map_index: int, attempt: int) -> str:
        """Return the log of a task's attempt as the web UI shows it, with its sources, as JSON."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        asked: dict[str, str | int] = {"map_index": map_index, "full_content": "true"}
        return self._client.get(path, params=asked, headers={"Accept": "application/json"}).raise_for_status().text

    def wait_for_new_run(self, dag_id: str, known_run_ids: set[str], *, seconds: float = 90.0) -> DagRun:
        """Wait until a Dag has a run whose id is not known, and return it.

        Raises
        ------
        AirflowSilent
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
        return [run for run in self._list_runs(dag_id) if run.run_id not in known_run_ids]

    def _list_runs(self, dag_id: str) -> list[DagRun]:
        found = self._get(f"/dags/{dag_id}/dagRuns", order_by="-run_after", limit=100)
        return [_parse_run(run) for run in found["dag_runs"]]

    def _get(self, path: str, **query: str | int) -> Any:  # noqa: ANN401 - JSON
        return self._client.get(f"/api/v2{path}", params=query).raise_for_status().json()


def _parse_run(answer: dict[str, Any]) -> DagRun:
    return DagRun(run_id=answer["dag_run_id"], state=answer["state"])
