"""Plugins: retries, reschedules, queue time to live, XComs, and the configuration check."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import errors

from etl.catalog.queues import EMAILS, ETL, URGENT_NOTIFICATIONS
from etl.db.waits import StatementCancelled, TransactionExpired, WarehouseBusy
from etl.errors import ChunkMissing, DeclarationError, ProviderUnavailable, RetryAfter
from tests.airflow_environment import ENVIRONMENT
from tests.dags.conftest import ROOT

BASE, CAP = timedelta(seconds=10), timedelta(minutes=5)


class Configured:
    """Airflow's configuration, read from environment variables."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def get(self, section: str, key: str, **_: Any) -> str | None:
        return self._environment.get(f"AIRFLOW__{section.upper()}__{key.upper()}")


def errors_with(**changes: str) -> list[str]:
    from sluice_config_check import config_errors

    environment = {**ENVIRONMENT, **changes}
    return list(config_errors(Configured(environment), environment))


@pytest.mark.parametrize(("attempt", "longest"), [(1, 10), (2, 20), (5, 160), (6, 300), (1_000_000, 300)])
def test_waits_double_up_to_a_cap_and_half_of_each_is_random(attempt: int, longest: int) -> None:
    from sluice_retry_policy import backoff

    waits = [backoff(attempt, base=BASE, cap=CAP, jitter=jitter).total_seconds() for jitter in (0, 0.5, 1)]
    assert waits == [longest / 2, longest * 0.75, longest]


def test_siblings_that_fail_together_are_not_retried_together() -> None:
    from sluice_retry_policy import ErrorTypeRetryPolicy

    waits = {
        ErrorTypeRetryPolicy().evaluate(ProviderUnavailable("p", 1, "nothing"), 1, 3).retry_delay for _ in range(20)
    }
    assert len(waits) == 20


@pytest.mark.parametrize(
    "error",
    [
        ChunkMissing("e", "r", 0),
        DeclarationError("no"),
        errors.UndefinedTable(),
        errors.SyntaxError(),
        errors.InsufficientPrivilege(),
        errors.NumericValueOutOfRange(),
        errors.CheckViolation(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_permanent_error_fails_at_once(error: Exception) -> None:
    from airflow.sdk import RetryAction

    from sluice_retry_policy import ErrorTypeRetryPolicy

    assert ErrorTypeRetryPolicy().evaluate(error, 1, 3).action is RetryAction.FAIL


@pytest.mark.parametrize(
    "error",
    [
        ProviderUnavailable("p", 1, "nothing"),
        psycopg.OperationalError("server closed the connection unexpectedly"),
        errors.AdminShutdown(),
        errors.SerializationFailure(),
        errors.DeadlockDetected(),
        errors.DiskFull(),
        WarehouseBusy(timedelta(minutes=5), "", (), ""),
        StatementCancelled(timedelta(minutes=30), "canceling statement due to statement timeout", ()),
        TransactionExpired(),
        errors.UniqueViolation(),
        MemoryError(),
        KeyError("anything else"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_transient_error_is_retried(error: BaseException) -> None:
    from airflow.sdk import RetryAction

    from sluice_retry_policy import ErrorTypeRetryPolicy

    assert ErrorTypeRetryPolicy().evaluate(error, 1, 3).action is RetryAction.RETRY


def test_a_timeout_is_transient_and_a_missing_connection_is_permanent() -> None:
    from airflow.sdk import RetryAction
    from airflow.sdk.exceptions import AirflowNotFoundException, AirflowTaskTimeout

    from sluice_retry_policy import ErrorTypeRetryPolicy

    assert ErrorTypeRetryPolicy().evaluate(AirflowTaskTimeout(), 1, 3).action is RetryAction.RETRY
    assert ErrorTypeRetryPolicy().evaluate(AirflowNotFoundException(), 1, 3).action is RetryAction.FAIL


def test_a_task_that_is_asked_to_end_is_rescheduled_and_spends_no_retry() -> None:
    from airflow.sdk.exceptions import AirflowRescheduleException

    from sluice_reschedule import reschedule_on_retry_after

    def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(AirflowRescheduleException) as caught:
        reschedule_on_retry_after(work)()
    assert timedelta() < caught.value.reschedule_date - datetime.now(UTC) < timedelta(seconds=12)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_rescheduled_task_never_resumes_early_nor_together_with_its_siblings() -> None:
    from sluice_reschedule import reschedule_at

    now = datetime(2026, 11, 20, tzinfo=UTC)
    waits = [reschedule_at(timedelta(seconds=100), as_of=now, jitter=jitter) - now for jitter in (0, 0.5, 1)]
    assert [wait.total_seconds() for wait in waits] == [100, 105, 110]


def test_a_task_that_must_wait_is_rescheduled_and_any_other_error_is_raised() -> None:
    from airflow.sdk.exceptions import AirflowRescheduleException

    from sluice_reschedule import task

    @task(task_id="t")
    def busy(error: Exception | None = None) -> str:
        if error:
            raise error
        return "done"

    assert busy.function() == "done"
    request = RetryAfter("the bank is busy", timedelta(seconds=100))
    with pytest.raises(AirflowRescheduleException) as raised:
        busy.function(request)
    assert raised.value.__cause__ is request
    assert timedelta(seconds=99) < raised.value.reschedule_date - datetime.now(UTC) <= timedelta(seconds=110)
    with pytest.raises(KeyError):
        busy.function(KeyError())


def test_a_task_that_starts_too_late_is_skipped_and_says_by_how_much() -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    from sluice_queue_ttl import build_expiry_hook

    started: list[object] = []
    check = build_expiry_hook(URGENT_NOTIFICATIONS, next_hook=started.append)

    def started_after(delay: timedelta) -> Any:
        return {"dag_run": SimpleNamespace(run_after=datetime.now(UTC) - delay)}

    check(started_after(timedelta(minutes=14)))
    assert len(started) == 1
    with pytest.raises(
        AirflowSkipException, match=r"must start within 0:15:00 of its run, and this one .* 0:05:00 too late"
    ):
        check(started_after(timedelta(minutes=20)))
    assert len(started) == 1


@pytest.mark.parametrize("resumption", [{"next_method": "execute_complete"}, {"task_reschedule_count": 1}])
def test_a_task_that_started_in_time_is_not_skipped_when_it_resumes(resumption: dict[str, object]) -> None:
    from sluice_queue_ttl import build_expiry_hook

    started: list[object] = []
    deferred = SimpleNamespace(_ti_context_from_server=SimpleNamespace(**resumption))
    late: Any = {"dag_run": SimpleNamespace(run_after=datetime.now(UTC) - timedelta(hours=1)), "ti": deferred}
    build_expiry_hook(URGENT_NOTIFICATIONS, next_hook=started.append)(late)
    assert started == [late]


def test_only_queues_with_a_time_to_live_expire() -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator

    from sluice_queue_ttl import apply_queue_ttl

    task = EmptyOperator(task_id="t")
    apply_queue_ttl(task, EMAILS)
    assert task._pre_execute_hook is None
    apply_queue_ttl(task, URGENT_NOTIFICATIONS)
    assert task._pre_execute_hook is not None


def test_an_xcom_holds_at_most_four_kibibytes() -> None:
    from sluice_xcom_backend import CappedXCom, XComTooLarge

    value = CappedXCom.serialize_value(list(range(256)), key="return_value", task_id="plan", dag_id="d")
    assert json.loads(json.dumps(value)) == list(range(256))
    with pytest.raises(XComTooLarge, match=r"task d\.plan pushes .* bytes as XCom 'return_value'; .* return its id"):
        CappedXCom.serialize_value(["x" * 100] * 50, key="return_value", task_id="plan", dag_id="d")


def test_the_configuration_of_the_local_stack_has_no_errors() -> None:
    assert errors_with() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT", "3600", "set it to at least 43201, or a mess"),
        ("AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT", "600", "[scheduler] task_queued_timeout is '600'; set it to from"),
        ("AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES", "", "num_stuck_in_queued_retries is ''; set it to at le"),
        (
            "AIRFLOW__CORE__XCOM_BACKEND",
            "airflow.sdk.execution_time.xcom.BaseXCom",
            "set it to sluice_xcom_backend.CappedXC",
        ),
        ("AIRFLOW__CORE__FERNET_KEY", "", "[core] fernet_key is missing or shorter than 44 characters"),
        ("SLUICE_KEYS", " ", "SLUICE_KEYS is not set"),
        (
            "SLUICE_UNSUBSCRIBE_URL",
            "http://bank.example",
            "SLUICE_UNSUBSCRIBE_URL cannot be read; it must hold an https",
        ),
        ("SLUICE_LINK_KEYS", "short", "SLUICE_LINK_KEYS cannot be read"),
    ],
)
def test_a_setting_that_would_lose_work_is_reported_with_the_fix(name: str, value: str, expected: str) -> None:
    (error,) = errors_with(**{name: value})
    assert expected in error


def test_tasks_of_a_backfill_have_their_own_pool_and_weigh_less_than_all_others() -> None:
    from sluice_cluster_policy import task_instance_mutation_hook

    def pool_and_weight(run_type: str | None) -> tuple[str, int]:
        task: Any = SimpleNamespace(queue=ETL.name, pool=ETL.pool.name, priority_weight=100 * ETL.priority + 4)
        run: Any = SimpleNamespace(run_type=run_type, triggered_by=None, run_id=f"{run_type}__2026-11-20")
        task_instance_mutation_hook(task, None if run_type is None else run)
        return task.pool, task.priority_weight

    assert pool_and_weight("scheduled") == pool_and_weight("manual") == pool_and_weight(None) == ("etl", 204)
    assert pool_and_weight("backfill") == ("etl_backfill", 4)


@pytest.mark.parametrize("run_id", ["manual__2026-11-20", "__airflow_temporary_run_2026-11-20__"])
def test_a_running_scheduler_ignores_test_runs_and_their_tasks(run_id: str) -> None:
    from airflow.utils.types import DagRunTriggeredByType

    from sluice_cluster_policy import task_instance_mutation_hook

    trigger = DagRunTriggeredByType.TEST if run_id.startswith("manual") else DagRunTriggeredByType.CLI
    now = datetime.now(UTC)
    run: Any = SimpleNamespace(run_type="manual", triggered_by=trigger, run_id=run_id, run_after=now)
    for _ in range(2):
        task: Any = SimpleNamespace(queue=ETL.name, pool=ETL.pool.name, priority_weight=204)
        task_instance_mutation_hook(task, run)
        assert (task.pool, task.priority_weight) == ("dag_test", 204)
    assert timedelta(hours=23) < run.run_after - now < timedelta(hours=25)


@pytest.mark.parametrize(
    ("queue", "before", "after"), [("etl", 0, 15), ("urgent_notifications", 0, 0), ("etl", 17, 17)]
)
def test_the_niceness_of_a_queue_is_set_in_the_process_of_its_task_and_never_lowered(
    queue: str, before: int, after: int
) -> None:
    script = (
        "import os; from types import SimpleNamespace; from sluice_niceness import NicenessListener\n"
        f"os.setpriority(os.PRIO_PROCESS, 0, {before})\n"
        f"NicenessListener().on_task_instance_running(None, SimpleNamespace(task=SimpleNamespace(queue={queue!r})))\n"
        "print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("plugins", "include"))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == str(after)
