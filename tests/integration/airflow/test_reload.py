"""Edited steps and plugins on a running stack: Dag processor and workers are restarted, and no task is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from dev.demo.airflow_api import AirflowApi
from dev.servers.errors import ReloadRefused
from dev.stack.reload import reload
from dev.stack.stack import Stack
from dev.stack.status import status
from tests.integration.airflow.conftest import wait_for_end

Rows = Callable[..., list[tuple[object, ...]]]
RESTARTED = {"dag-processor", "worker-high-priority", "worker-low-priority"}
TASK = (
    "select t.state, t.try_number, (select count(*) from task_reschedule as r where r.ti_id = t.id) "
    "from task_instance as t where t.dag_id = 'waiting' and t.run_id = %s"
)


def processes(stack: Stack) -> dict[str, int]:
    return {program.name: program.pid for program in status(stack.home).programs}


def plugin(stack: Stack) -> Path:
    return stack.home.with_name("project") / "plugins" / "sluice_niceness.py"


def wait_until_running(metadata: Rows, run_id: str) -> None:
    deadline = time.monotonic() + 180
    while [row[0] for row in metadata(TASK, run_id)] != ["running"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_edited_code_that_cannot_be_imported_restarts_nothing(airflow_stack: Stack) -> None:
    before, text = processes(airflow_stack), plugin(airflow_stack).read_text()
    plugin(airflow_stack).write_text(text + "import nothing_of_that_name\n")
    try:
        with pytest.raises(ReloadRefused, match="No module named 'nothing_of_that_name'"):
            reload(airflow_stack.home)
    finally:
        plugin(airflow_stack).write_text(text)
    assert processes(airflow_stack) == before


def test_a_reload_restarts_dag_processor_and_workers_and_loses_no_task(
    airflow_stack: Stack, api: AirflowApi, metadata: Rows, tmp_path: Path
) -> None:
    api.wait_for_dag("waiting")
    ends, outlasts = tmp_path / "ends", tmp_path / "outlasts"
    runs = {file: api.trigger("waiting", file=str(file)) for file in (ends, outlasts)}
    for run in runs.values():
        wait_until_running(metadata, run.run_id)
    before, messages = processes(airflow_stack), list[str]()

    def say(message: str) -> None:
        messages.append(message)
        if message.startswith("Restarting "):
            ends.touch()

    reload(airflow_stack.home, grace=timedelta(seconds=10), say=say)
    outlasts.touch()
    after = processes(airflow_stack)
    assert {name for name in after if after[name] != before[name]} == RESTARTED
    assert "worker-low-priority: not ended in time; its tasks are handed back." in messages
    assert messages[-1].startswith("Reloaded in ")
    for file, reschedules in ((ends, 0), (outlasts, 1)):
        assert wait_for_end(api, "waiting", runs[file]).state == "success"
        assert metadata(TASK, runs[file].run_id) == [("success", 1, reschedules)]
