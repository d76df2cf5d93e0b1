"""Announcements made on the command line and sent by Airflow at once, through Airflow's real API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.clients import airflow
from etl.clients.airflow import AirflowRefused, AirflowUnavailable
from etl.db.connection import connect
from etl.notify.announce import announce_now, plan_announcement
from etl.settings import Endpoint
from tests.integration.airflow.conftest import wait_for_end
from tests.integration.airflow.test_notice_dag import count_mails

Rows = Callable[..., list[tuple[object, ...]]]
DAG = "notify_now"
MONTH = "Smarch 2026"


@dataclass(frozen=True)
class Announced:
    """An announcement made twice: the run that sent it, and the output of each command."""

    run: DagRun
    run_id: int
    outputs: list[str]


def announce(stack: Stack, user: int, *, key: str = "flag-123") -> str:
    """Announce on the command line, as an application would, and return its output."""
    options = ("--user", str(user), "--key", key, "--value", f"month={MONTH}", "--value", "currencies=")
    command = [sys.executable, "-m", "etl", "notify", "send", "monthly_report", *options]
    done = subprocess.run(command, env=dict(stack.environment), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def announced(airflow_stack: Stack) -> Announced:
    """Return an announcement that was sent, and then announced again."""
    endpoint = Endpoint.from_environment("warehouse", airflow_stack.environment)
    with (
        AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api,
        connect(endpoint) as db,
    ):
        api.wait_for_dag(DAG)
        (user,) = db.execute("select min(user_id) from core.users").fetchone() or ()
        first_output = announce(airflow_stack, user)
        (run_id,) = db.execute("select run_id from notify.announcements").fetchone() or ()
        run = wait_for_end(api, DAG, api.get_run(DAG, f"announced_{run_id}"))
        return Announced(run, run_id, [first_output, announce(airflow_stack, user)])


def test_a_recipient_gets_one_message_however_often_it_is_announced(announced: Announced, airflow_stack: Stack) -> None:
    assert announced.run.state == "success"
    assert list(count_mails(airflow_stack, MONTH).values()) == [1]
    first, second = announced.outputs
    assert first.startswith(f"monthly_report flag-123: run {announced.run_id}; see")
    assert second.startswith(f"monthly_report flag-123: run {announced.run_id}, which was sent before; see")


def test_an_unsent_announcement_is_sent_when_it_is_announced_again(airflow_stack: Stack) -> None:
    server = Endpoint.from_environment("airflow_api", airflow_stack.environment)
    endpoint = Endpoint.from_environment("warehouse", airflow_stack.environment)
    with (
        AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api,
        connect(endpoint) as db,
    ):
        (user,) = db.execute("select max(user_id) from core.users").fetchone() or ()
        values = {"month": "Octember 2026", "currencies": ""}
        run_id = plan_announcement(MONTHLY_REPORT, [user], "flag-456", values, db=db).run_id
        state = "update notify.runs set state = %s where run_id = %s"
        db.execute(state, ("cancelled", run_id))
        name = f"announced_{run_id}"
        assert airflow.trigger(server, DAG, name, {"run_id": run_id})
        assert wait_for_end(api, DAG, api.get_run(DAG, name)).state == "success"
        assert not count_mails(airflow_stack, "Octember 2026")
        db.execute(state, ("running", run_id))
        announce_now(MONTHLY_REPORT, [user], "flag-456", values, db=db, server=server)
        assert wait_for_end(api, DAG, api.get_run(DAG, name)).state == "success"
    assert list(count_mails(airflow_stack, "Octember 2026").values()) == [1]


def test_airflow_stores_the_run_id_and_no_recipient_or_value(announced: Announced, metadata: Rows) -> None:
    confs = metadata("select conf from dag_run where dag_id = %s and run_id = %s", DAG, announced.run.run_id)
    assert confs == [({"run_id": announced.run_id},)]
    queues = metadata("select distinct queue, pool from task_instance where dag_id = %s", DAG)
    assert queues == [("urgent_notifications",) * 2]
    xcoms = "select count(*) from xcom where dag_id = %s and value::text like any (array['%%Smarch%%', '%%@%%'])"
    assert metadata(xcoms, DAG) == [(0,)]


def test_a_run_id_is_triggered_only_once(announced: Announced, airflow_stack: Stack) -> None:
    server = Endpoint.from_environment("airflow_api", airflow_stack.environment)
    assert not airflow.trigger(server, DAG, announced.run.run_id, {"run_id": announced.run_id})


def test_wrong_login_and_unknown_dag_are_permanent_errors_and_no_answer_is_temporary(airflow_stack: Stack) -> None:
    server = Endpoint.from_environment("airflow_api", airflow_stack.environment)
    with pytest.raises(AirflowRefused, match="the login was answered with 401; fix the address or the login"):
        airflow.trigger(replace(server, password="wrong"), DAG, "r", {})
    with pytest.raises(AirflowRefused, match="a run of unheard_of was answered with 404"):
        airflow.trigger(server, "unheard_of", "r", {})
    with pytest.raises(AirflowUnavailable, match=r"http://127\.0\.0\.1:1: ClientConnectorError; try again"):
        airflow.trigger(Endpoint("127.0.0.1", 1), DAG, "r", {})
