"""A task whose predecessor was marked as success by hand says which task to clear."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from etl.catalog.entities import ENTITIES
from etl.declare.source import RawOf
from etl.errors import PermanentError

PROVIDER_CHUNK = {"store_raw": "download", "transform": "store_raw", "load": "transform"}
RAW_CHUNK = {"load": "transform"}
STEPS = [
    (f"etl_{entity.name}", step, earlier)
    for entity in ENTITIES
    for step, earlier in (RAW_CHUNK if isinstance(entity.source, RawOf) else PROVIDER_CHUNK).items()
]


def set_task(monkeypatch: pytest.MonkeyPatch, task_id: str, *, map_index: int, plan: object = None) -> None:
    from airflow.sdk.definitions._internal import contextmanager

    pulled: Any = {"plan": plan}
    task = SimpleNamespace(task_id=task_id, map_index=map_index, xcom_pull=lambda task_ids: pulled[task_ids])
    monkeypatch.setattr(contextmanager, "_CURRENT_CONTEXT", [{"ti": task}])


def test_every_step_that_takes_a_result_is_among_those_tested(bag: Any) -> None:
    chunked = {
        (dag_id, task.task_id.removeprefix("chunk."))
        for dag_id, dag in bag.dags.items()
        for task in dag.tasks
        if dag_id.startswith("etl_") and task.task_id.startswith("chunk.") and task.upstream_task_ids != {"plan"}
    }
    assert chunked == {(dag_id, step) for dag_id, step, _ in STEPS}


@pytest.mark.parametrize(("dag_id", "step", "earlier"), STEPS)
def test_a_step_without_the_result_of_the_one_before_says_to_clear_that(
    bag: Any, monkeypatch: pytest.MonkeyPatch, dag_id: str, step: str, earlier: str
) -> None:
    set_task(monkeypatch, f"chunk.{step}", map_index=3)
    with pytest.raises(PermanentError) as raised:
        bag.dags[dag_id].get_task(f"chunk.{step}").python_callable(None)
    assert str(raised.value) == (
        f"`{step}` [3] got no result from `chunk.{earlier}` [3], which was marked as success by hand, or whose XCom "
        f"was deleted; clear `chunk.{earlier}` [3], with its downstream tasks: it continues where it stopped."
    )


@pytest.mark.parametrize("results", [{"notice_run": None, "sender": 0}, {"notice_run": 1, "sender": None}])
def test_a_sender_without_its_plan_says_to_clear_that(
    bag: Any, monkeypatch: pytest.MonkeyPatch, results: dict[str, int | None]
) -> None:
    set_task(monkeypatch, "send", map_index=0)
    with pytest.raises(PermanentError, match=r"^`send` \[0\] got no result from `plan`, which was marked as success"):
        bag.dags["notify_low_balance"].get_task("send").python_callable(**results)


@pytest.mark.parametrize(("planned", "warnings"), [(None, 1), ([], 0), ([0, 1], 0)])
def test_a_report_warns_if_the_plan_has_no_result(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, planned: object, warnings: int
) -> None:
    import sluice_task_results

    set_task(monkeypatch, "report", map_index=-1, plan=planned)
    with caplog.at_level(logging.WARNING):
        sluice_task_results.warn_if_not_planned()
    assert [record.getMessage().endswith("clear `plan`, with its downstream tasks") for record in caplog.records] == [
        True
    ] * warnings
