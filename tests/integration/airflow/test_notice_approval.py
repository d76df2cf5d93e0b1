"""A run of more recipients than declared is sent only after a person has approved it in Airflow."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.stack import Stack
from etl import catalog_folder
from etl.db.connection import Connection
from tests.integration.airflow.conftest import USERS, wait_for_end
from tests.own_catalog import OwnCatalog

Rows = Callable[..., list[tuple[object, ...]]]
NAME = "asked"
DAG = f"notify_{NAME}"
FEW = 5
DECLARATION = f'''
from etl.catalog.channels import EMAIL
from etl.catalog.queues import EMAILS
from etl.declare.notice import Category, Consent, Notice, UnknownPolicy

{NAME.upper()} = Notice(
    name="{NAME}",
    summary="Asked before it is sent.",
    channels=(EMAIL,),
    category=Category("news", Consent.OPT_OUT),
    queue=EMAILS,
    pace=1000,
    period="%Y-%m",
    parameters={{"most": 1000000}},
    unknown=UnknownPolicy.HOLD,
    approval_above={FEW},
)
'''
STATEMENTS = """
-- name: bounds
select u.user_id as position from core.users as u where u.user_id <= %(most)s;

-- name: recipients
select u.user_id as position, u.user_id, %(period)s as dedupe_key
from core.users as u
where u.user_id > %(after)s and u.user_id < %(stop)s and u.user_id <= %(most)s
order by u.user_id
limit %(limit)s;
"""


@pytest.fixture
def asked(airflow_stack: Stack, api: AirflowApi) -> Iterator[None]:
    """Add a notice that needs approval to the catalogue of the running stack."""
    catalog = OwnCatalog(Path(airflow_stack.environment[catalog_folder.VARIABLE]))
    for part in ("subject", "text", "html"):
        catalog.write(f"notices/{NAME}/email.{part}.jinja", "News")
    statements = catalog.write(f"sql/notices/{NAME}.sql", STATEMENTS)
    catalog.write(f"notices/{NAME}/notice.py", DECLARATION)
    api.wait_for_dag(DAG)
    api.unpause(DAG)
    yield
    shutil.rmtree(catalog.folder / "notices" / NAME)
    statements.unlink()


def wait_for_question(metadata: Rows, run: DagRun) -> tuple[str, str]:
    """Wait until a run waits for a person, and return what they are asked."""
    text = (
        "select h.subject, h.body from hitl_detail as h join task_instance as t on t.id = h.ti_id "
        "where t.dag_id = %s and t.run_id = %s and t.state = 'awaiting_input'"
    )
    deadline = time.monotonic() + 120
    while not (found := metadata(text, DAG, run.run_id)):
        assert time.monotonic() < deadline, "nobody was asked"
        time.sleep(0.5)
    ((subject, body),) = found
    return str(subject), str(body)


def answer(api: AirflowApi, run: DagRun, option: str) -> DagRun:
    path = f"/dags/{DAG}/dagRuns/{run.run_id}/taskInstances/approve/-1/hitlDetails"
    api._send("PATCH", path, chosen_options=[option], params_input={})
    return wait_for_end(api, DAG, run)


def state_of(synced: Connection, period: str) -> tuple[object, ...]:
    """Return the state of a run in the ledger, its reason, and how many mails it sent."""
    (row,) = synced.execute(
        "select r.state, r.reason, (select count(*) from notify.deliveries as d where d.run_id = r.run_id) "
        "from notify.runs as r join notify.notices using (notice_id) where name = %s and period = %s",
        (NAME, period),
    ).fetchall()
    return tuple(row)


@pytest.mark.usefixtures("asked")
def test_a_big_run_is_sent_if_a_person_approves_it_and_cancelled_if_not(
    api: AirflowApi, metadata: Rows, synced: Connection
) -> None:
    rejected = api.trigger(DAG, period="2025-01")
    subject, body = wait_for_question(metadata, rejected)
    assert subject == f"Send {NAME} 2025-01 to {USERS} recipients?"
    assert f"sluice notify preview {NAME} --period 2025-01 --sample 20" in body
    assert state_of(synced, "2025-01") == ("held", f"waits for approval, since it has {USERS} recipients", 0)
    assert answer(api, rejected, "Reject").state == "success"
    assert state_of(synced, "2025-01") == ("cancelled", "", 0)
    approved = api.trigger(DAG, period="2025-02")
    wait_for_question(metadata, approved)
    assert answer(api, approved, "Approve").state == "success"
    assert state_of(synced, "2025-02") == ("done", "", USERS)
    small = wait_for_end(api, DAG, api.trigger(DAG, period="2025-03", parameters={"most": FEW}))
    assert small.state == "success"
    assert state_of(synced, "2025-03") == ("done", "", FEW)
    states = metadata(
        "select t.run_id, t.state from task_instance as t where t.dag_id = %s and t.task_id = 'send'", DAG
    )
    assert set(states) == {
        (rejected.run_id, "skipped"),
        (approved.run_id, "success"),
        (small.run_id, "success"),
    }
