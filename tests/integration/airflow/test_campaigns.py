"""Two campaigns and an urgent notice at once, through the scheduler and the Celery workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack
from etl.db.connection import Connection, connect_warehouse
from etl.notify.store import runs
from etl.notify.store.runs import RunState
from tests.integration.airflow.campaigns import CAMPAIGNS
from tests.integration.airflow.test_announced import announce

Rows = Callable[..., list[tuple[object, ...]]]
SLOW = """
create function public.slow() returns trigger language plpgsql as
    'begin if new.dedupe_key ~ ''^[0-9]+$'' then perform pg_sleep(0.04); end if; return new; end';
create trigger slow before insert on notify.deliveries for each row execute function public.slow()
"""
"""Makes a sender of a campaign send 25 messages a second at most."""
REPAIR = "drop function public.slow cascade"
STATES = "select state from task_instance where dag_id = %s and run_id = %s and task_id = 'send' and map_index >= 0"


@dataclass(frozen=True)
class Campaign:
    """A running campaign."""

    dag_id: str
    dag_run: DagRun
    run_id: int


def wait_until(condition: Callable[[], bool], *, seconds: float) -> float:
    """Wait for a condition, and return for how long."""
    started_at = time.monotonic()
    while not condition() and time.monotonic() - started_at < seconds:
        time.sleep(0.25)
    return time.monotonic() - started_at


def sent(db: Connection, run_id: int) -> int:
    return runs.read_totals(db, run_id)["sent"]


def start(api: AirflowApi, db: Connection, name: str) -> Campaign:
    """Trigger a campaign, and return it as soon as it is planned."""
    dag_run = api.trigger(f"notify_{name}", period="2026-11-20")
    query = "select run_id from notify.runs join notify.notices using (notice_id) where name = %s"
    wait_until(lambda: db.execute(query, (name,)).fetchone() is not None, seconds=90)
    (run_id,) = db.execute(query, (name,)).fetchone() or (0,)
    return Campaign(f"notify_{name}", dag_run, run_id)


@pytest.fixture(scope="module")
def _campaigns(airflow_stack: Stack) -> Iterator[None]:
    with (
        AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api,
        connect_warehouse(airflow_stack.environment) as db,
    ):
        for name in CAMPAIGNS:
            api.wait_for_dag(f"notify_{name}")
            api.unpause(f"notify_{name}")
        db.execute(SLOW)
        yield
        db.execute(REPAIR)
        db.execute(
            "update notify.runs set state = 'cancelled', ended_at = now() from notify.notices as n "
            "where n.notice_id = runs.notice_id and n.name = any(%s) and ended_at is null",
            (list(CAMPAIGNS),),
        )


@pytest.fixture
def states(metadata: Rows) -> Callable[[Campaign], list[str]]:
    """Return a function that returns the states of a campaign's senders."""
    return lambda campaign: sorted(
        str(state) for (state,) in metadata(STATES, campaign.dag_id, campaign.dag_run.run_id)
    )


@pytest.mark.usefixtures("_campaigns")
def test_campaigns_share_the_slots_and_a_paused_one_holds_none(
    airflow_stack: Stack, api: AirflowApi, synced: Connection, states: Callable[[Campaign], list[str]]
) -> None:
    spring = start(api, synced, "spring")
    wait_until(lambda: states(spring) == ["running"] * 2, seconds=90)
    assert states(spring) == ["running"] * 2

    triggered_at = time.monotonic()
    autumn = start(api, synced, "autumn")
    planned_after = time.monotonic() - triggered_at
    (user,) = synced.execute("select min(user_id) from core.users").fetchone() or (0,)
    announced_at = time.monotonic()
    announce(airflow_stack, user, key="while campaigns run")
    urgent = "select state from notify.deliveries where dedupe_key = 'key:while campaigns run'"
    wait_until(lambda: synced.execute(urgent).fetchall() == [("sent",)], seconds=30)
    urgent_took = time.monotonic() - announced_at
    wait_until(lambda: sent(synced, autumn.run_id) > 0, seconds=60)
    began_after = time.monotonic() - triggered_at

    time.sleep(2)
    before = Counter({campaign.dag_id: sent(synced, campaign.run_id) for campaign in (spring, autumn)})
    time.sleep(15)
    after = Counter({campaign.dag_id: sent(synced, campaign.run_id) for campaign in (spring, autumn)})
    shares = {name: count / (after - before).total() for name, count in (after - before).items()}

    runs.set_pace_or_state(synced, spring.run_id, state=RunState.PAUSED)
    taken_after = wait_until(lambda: states(autumn) == ["running"] * 2, seconds=40)
    paused = states(spring)
    sent_when_paused = sent(synced, spring.run_id)
    for campaign in (spring, autumn):
        runs.set_pace_or_state(synced, campaign.run_id, state=RunState.CANCELLED)
    measured = (planned_after, began_after, urgent_took, shares, taken_after, paused)
    assert planned_after < 20, measured
    assert urgent_took < 20, measured
    assert began_after < 30, measured
    assert all(0.4 <= share <= 0.6 for share in shares.values()), measured
    assert taken_after < 25, measured
    assert paused == ["up_for_reschedule"] * 2, measured
    assert sent(synced, spring.run_id) == sent_when_paused
