"""The Dag of a notice, run by the scheduler on Celery workers, with a mail server."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_string
from email.policy import default
from pathlib import Path

import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack
from etl.db.connection import Connection, connect
from etl.settings import Endpoint
from tests.integration.airflow.conftest import USERS, wait_for_end

Rows = Callable[..., list[tuple[object, ...]]]
DAG = "notify_monthly_report"
BREAK_SECOND_HALF = """
create function public.slower() returns trigger language plpgsql as
    'begin new.pace := 20; return new; end';
create trigger slower before insert on notify.runs for each row execute function public.slower();
create function public.refuse() returns trigger language plpgsql as
    'begin if new.user_id > 30 then raise invalid_parameter_value; end if; return new; end';
create trigger refuse before insert on notify.deliveries for each row execute function public.refuse();
"""
REPAIR = "drop function public.slower, public.refuse cascade"


@dataclass(frozen=True)
class Runs:
    """Runs of the Dag after their ends, and the mails of the failed run before it was cleared."""

    first: DagRun
    repeated: DagRun
    failed: DagRun
    mails_before_clear: Counter[str]
    cleared: DagRun
    backfilled: list[DagRun]


def count_mails(stack: Stack, month: str) -> Counter[str]:
    """Return the number of reports of a month that each address received."""
    paths = sorted((Path(stack.home) / "mails").glob("*.eml"))
    mails = [message_from_string(path.read_text(), policy=default) for path in paths]
    return Counter(str(mail["To"]) for mail in mails if mail["Subject"] == f"Your money in {month}")


def backfill(stack: Stack) -> None:
    days = ("--from-date", "2026-04-01", "--to-date", "2026-05-02", "--max-active-runs", "1")
    command = ["airflow", "backfill", "create", "--dag-id", DAG, *days]
    subprocess.run(command, env=dict(stack.environment), check=True, timeout=120, capture_output=True)


@contextmanager
def failing(db: Connection) -> Iterator[None]:
    """Make deliveries to the second half of the users fail; pages hold 20 recipients."""
    db.execute(BREAK_SECOND_HALF)
    try:
        yield
    finally:
        db.execute(REPAIR)


@pytest.fixture(scope="module")
def runs(airflow_stack: Stack) -> Runs:
    """Return the runs; they do not overlap, so each waits for the one before."""
    endpoint = Endpoint.from_environment("warehouse", airflow_stack.environment)
    with (
        AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api,
        connect(endpoint) as db,
    ):
        api.wait_for_dag(DAG)
        earlier_runs = api.unpause(DAG)
        first = wait_for_end(api, DAG, api.trigger(DAG, period="2026-03", of_another_release=1))
        repeated = wait_for_end(api, DAG, api.trigger(DAG, period="2026-03"))
        with failing(db):
            failed = wait_for_end(api, DAG, api.trigger(DAG, period="2026-02"))
        mails_before_clear = count_mails(airflow_stack, "February 2026")
        api.clear_failed(DAG, failed.run_id)
        cleared = wait_for_end(api, DAG, api.get_run(DAG, failed.run_id))
        earlier_runs |= {run.run_id for run in api.new_runs(DAG, earlier_runs)}
        backfill(airflow_stack)
        backfilled = [wait_for_end(api, DAG, run) for run in api.new_runs(DAG, earlier_runs)]
        return Runs(first, repeated, failed, mails_before_clear, cleared, backfilled)


def task_states(metadata: Rows, run: DagRun) -> dict[tuple[object, object], object]:
    """Return the states of a run's tasks, by task id and map index."""
    text = "select task_id, map_index, state from task_instance where dag_id = %s and run_id = %s"
    return {(task, index): state for task, index, state in metadata(text, DAG, run.run_id)}


def test_everybody_with_an_address_gets_one_mail(
    runs: Runs, airflow_stack: Stack, synced: Connection, metadata: Rows
) -> None:
    assert runs.first.state == "success"
    assert count_mails(airflow_stack, "March 2026") == {f"demo-{number:06d}@example.com": 1 for number in range(USERS)}
    assert task_states(metadata, runs.first) == {
        ("plan", -1): "success",
        ("send", 0): "success",
        ("report", -1): "success",
        ("all_sent", -1): "success",
    }
    (row,) = synced.execute("select totals, recipients from notify.runs where period = '2026-03'").fetchall()
    assert row[1] == USERS
    extra = "select extra from asset_event where source_dag_id = %s and source_run_id = %s"
    assert metadata(extra, DAG, runs.first.run_id) == [(row[0],)]
    assert (row[0]["sent"], row[0]["chunks"], row[0]["chunks_finished"]) == (USERS, 1, 1)


def test_tasks_run_on_the_queue_of_the_notice_and_exchange_ids_only(runs: Runs, metadata: Rows) -> None:
    text = "select distinct queue, pool from task_instance where dag_id = %s order by pool"
    assert metadata(text, DAG) == [("emails", "emails"), ("emails", "emails_planning")]
    label = "select rendered_map_index from task_instance where run_id = %s and task_id = 'send'"
    assert metadata(label, runs.first.run_id) == [("sender 0",)]
    values = metadata("select value::text from xcom where dag_id = %s and task_id in ('plan', 'send')", DAG)
    assert values
    assert all(set(str(value)) <= set("0123456789[], ") for (value,) in values)


def test_a_period_that_was_sent_is_not_sent_again(runs: Runs, metadata: Rows, synced: Connection) -> None:
    assert runs.repeated.state == "success"
    states = task_states(metadata, runs.repeated)
    assert (states["plan", -1], states["send", -1], states["report", -1]) == ("success", "skipped", "success")
    count = "select count(*) from notify.deliveries join notify.runs using (run_id) where period = '2026-03'"
    assert synced.execute(count).fetchone() == (USERS,)


def test_a_failed_chunk_continues_where_it_stopped(runs: Runs, airflow_stack: Stack, metadata: Rows) -> None:
    assert runs.failed.state == "failed"
    assert 0 < len(runs.mails_before_clear) < USERS
    assert runs.cleared.state == "success"
    assert task_states(metadata, runs.cleared)["all_sent", -1] == "success"
    mails = count_mails(airflow_stack, "February 2026")
    assert len(mails) == USERS
    assert set(mails.values()) == {1}


def test_a_backfill_sends_nothing_by_default(runs: Runs, synced: Connection, metadata: Rows) -> None:
    assert [run.state for run in runs.backfilled] == ["success", "success"]
    for run in runs.backfilled:
        states = task_states(metadata, run)
        assert (states["plan", -1], states["send", -1]) == ("success", "skipped")
    assert synced.execute("select count(*) from notify.runs where period in ('2026-04', '2026-05')").fetchone() == (0,)
