"""The Dags of notices, as Airflow's parser reads them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from etl.catalog.channels import DESKTOP, PUSH
from etl.catalog.notices import NOTICES
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.declare.notice import After, Notice

each_notice = pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.name)


@each_notice
def test_every_notice_is_a_dag_that_plans_sends_and_reports(bag: Any, notice: Notice) -> None:
    dag = bag.dags[f"notify_{notice.name}"]
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "plan": {"send"},
        "send": {"report", "all_sent"},
        "report": {"all_sent"},
        "all_sent": set(),
    }
    assert {task.queue for task in dag.tasks} == {notice.queue.name}
    assert {task.execution_timeout for task in dag.tasks} == {notice.timeout}
    pool = notice.queue.planning_pool or notice.queue.pool
    assert [dag.get_task(name).pool for name in ("plan", "send")] == [pool.name, notice.queue.pool.name]
    weights = [dag.get_task(name).priority_weight for name in ("send", "report", "plan")]
    assert weights == sorted(weights)
    assert {weight // 100 for weight in weights} == {notice.queue.priority}


@each_notice
def test_a_chunk_that_failed_fails_the_run_and_not_the_report(bag: Any, notice: Notice) -> None:
    dag = bag.dags[f"notify_{notice.name}"]
    assert dag.get_task("send").is_mapped
    assert dag.get_task("report").trigger_rule == "all_done"
    assert dag.get_task("all_sent").trigger_rule == "all_success"
    assert [(asset.name, asset.uri) for asset in dag.get_task("report").outlets] == [
        (f"notify_{notice.name}", f"sluice://notify/{notice.name}")
    ]


@pytest.mark.parametrize("schedule", [None, After("transactions"), "0 8 1 * *"])
def test_the_dag_of_a_notice_has_the_declared_schedule(bag: Any, schedule: str | After | None) -> None:
    from sluice_notice_dags import build_notice_dag

    timetable: Any = build_notice_dag(replace(MONTHLY_REPORT, name="another", schedule=schedule)).timetable
    if isinstance(schedule, After):
        assert [asset.name for asset in timetable.asset_condition.objects] == [schedule.entity]
    else:
        assert getattr(timetable, "expression", None) == schedule


def test_an_announcement_is_sent_at_once_or_not_at_all(bag: Any) -> None:
    dag = bag.dags["notify_now"]
    (send,) = dag.tasks
    assert (send.queue, send.pool) == ("urgent_notifications", "urgent_notifications")
    assert not dag.is_paused_upon_creation
    assert dag.max_active_runs > 1
    assert send._pre_execute_hook is not None
    assert send.execution_timeout <= timedelta(minutes=15)


@pytest.fixture
def _no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    def missing(connection: str) -> None:
        raise AirflowNotFoundException(connection)

    monkeypatch.setattr(BaseHook, "get_connection", missing)


@pytest.mark.usefixtures("_no_connections")
@pytest.mark.parametrize(
    ("notice", "name"),
    [
        (MONTHLY_REPORT, "email: there is no Airflow connection 'notices_email'; add one of type smtp"),
        (replace(MONTHLY_REPORT, channels=(PUSH,)), "'notices_push'; add one of type google_cloud_platform"),
        (replace(MONTHLY_REPORT, channels=(DESKTOP,)), "'notices_desktop'; add one of type http"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.channels[0].name,
)
def test_a_missing_connection_is_named_and_not_retried(bag: Any, notice: Notice, name: str) -> None:
    from etl.errors import PermanentError
    from sluice_channels import build_senders

    with pytest.raises(PermanentError, match=name):
        build_senders(notice)


def test_mails_are_sent_through_the_default_server_unless_notices_have_their_own(
    bag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sluice_channels import build_senders

    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", "smtp://mail.example:25/?from_email=sluice%40bank.example")
    assert build_senders(MONTHLY_REPORT)["email"].host == "mail.example:25"  # type: ignore[attr-defined]
    monkeypatch.setenv("AIRFLOW_CONN_NOTICES_EMAIL", "smtp://many.example:26/?from_email=sluice%40bank.example")
    assert build_senders(MONTHLY_REPORT)["email"].host == "many.example:26"  # type: ignore[attr-defined]


def test_only_a_notice_that_declares_it_waits_for_approval(bag: Any) -> None:
    from sluice_notice_dags import build_notice_dag

    notice = replace(MONTHLY_REPORT, name="asked", approval_above=100_000, expiry=timedelta(hours=4))
    dag = build_notice_dag(notice)
    approve: Any = dag.get_task("approve")
    assert (approve.upstream_task_ids, approve.downstream_task_ids) == ({"plan"}, {"send"})
    assert dag.get_task("send").upstream_task_ids == {"plan", "approve"}
    assert (approve.defaults, approve.response_timeout) == (["Reject"], notice.expiry)
    assert approve.queue == notice.queue.name
    unasked = build_notice_dag(replace(MONTHLY_REPORT, name="unasked"))
    assert set(unasked.task_ids) == {"plan", "send", "report", "all_sent"}
