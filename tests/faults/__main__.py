"""`python -m tests.faults`: ten kills in the middle of a notice, and nobody gets a mail twice.

Through Airflow, Celery, Postgres, Valkey and a mail server that writes down every mail. First a run in which nothing is
killed; then one in which a worker, Valkey and Postgres are killed, in an order and at moments that `--seed` decides,
each while mails are arriving. Tasks that failed for good are run again. It takes some ten minutes.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, TypeVar

import httpx
import psycopg
import typer

from benchmarks.support import audience, home, mail_sink
from benchmarks.support.mail_sink import CONNECTION, MailSink
from dev.demo.airflow_api import AirflowApi
from dev.servers.bank import Sandbox
from dev.stack.airflow_environment import ADMIN
from dev.stack.home import REPOSITORY
from dev.stack.plan import StackOptions
from dev.stack.stack import Stack
from dev.stack.up import up
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.db.connection import connect_warehouse
from etl.errors import TransientError
from etl.notify.store import chunks, runs
from tests.faults.kill_schedule import Killer, Victim
from tests.faults.verdict import RunVerdict, verify_run

PAGE_SIZE = 100
"""Recipients of a page: a second of the drill's pace."""
UNDISTURBED_USERS, USERS = 1_000, 12_000
KILLS = 10
MAX_SECONDS = 700.0
"""Seconds for all of it."""

_DAG = "notify_monthly_report"
_DAY = date(2026, 1, 1)
_BUNDLES = [
    {
        "name": "drill",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(REPOSITORY / "tests" / "faults" / "dags")},
    }
]
_VICTIMS = [Victim.WORKER, Victim.VALKEY, Victim.POSTGRES] * 3 + [Victim.VALKEY]
_OUTAGE_ERRORS = (httpx.HTTPError, psycopg.OperationalError, TransientError)
"""What is heard of servers that are being killed."""
_Answer = TypeVar("_Answer")


@dataclass
class Drill:
    """One stack, on which runs are sent and programs killed."""

    stack: Stack
    sink: MailSink
    began: float

    def say(self, text: str) -> None:
        """Print what happens, and when."""
        typer.echo(f"{time.monotonic() - self.began:6.1f} s  {text}")

    def trigger(self, **conf: object) -> str:
        """Start a run of the Dag and return its id."""
        return self._with_retries(lambda: self._airflow(lambda api: api.trigger(_DAG, **conf).run_id))

    def state(self, run_id: str) -> str:
        """Return the state of a run of the Dag."""
        return self._with_retries(lambda: self._airflow(lambda api: api.get_run(_DAG, run_id).state))

    def wait_until_planned(self, period: str) -> int:
        """Return the run in the warehouse, once it is planned."""
        while (found := self._with_retries(lambda: self._of_period(period))) is None:
            self._check_deadline()
            time.sleep(0.2)
        return found

    def count_unfinished(self, run_id: int) -> int:
        """Return how many chunks of a run are not finished."""
        return len(self._with_retries(lambda: self._unfinished(run_id)))

    def wait(self, airflow_run: str) -> str:
        """Wait for the end of a run of the Dag, and return its state."""
        while (state := self.state(airflow_run)) not in ("success", "failed"):
            self._check_deadline()
            time.sleep(0.5)
        return state

    def wait_for_mails(self, airflow_run: str) -> bool:
        """Wait until mails arrive; False if the run ends before."""
        known = self.sink.count()
        while self.sink.count() <= known:
            if self.state(airflow_run) in ("success", "failed"):
                return False
            self._check_deadline()
            time.sleep(0.2)
        return True

    def verify(self, run_id: int, *, earlier_mails: int, killed: bool) -> RunVerdict:
        """Return how a finished run stands."""
        with connect_warehouse(self.stack.environment) as db:
            return verify_run(db, run_id, self.sink.addresses()[earlier_mails:], page=PAGE_SIZE, killed=killed)

    def add_users(self, users: int) -> None:
        """Add users until there are so many."""
        with connect_warehouse(self.stack.environment) as db:
            audience.add_users(db, users, category=MONTHLY_REPORT.category.name)

    def _airflow(self, call: Callable[[AirflowApi], _Answer]) -> _Answer:
        with AirflowApi(self.stack.ui_url, user=ADMIN, password=self.stack.ui_password) as api:
            return call(api)

    def _of_period(self, period: str) -> int | None:
        with connect_warehouse(self.stack.environment) as db:
            run = runs.find_by_period(db, MONTHLY_REPORT, period)
            return None if run is None else run.run_id

    def _unfinished(self, run_id: int) -> list[int]:
        with connect_warehouse(self.stack.environment) as db:
            return chunks.list_unfinished(db, run_id)

    def _with_retries(self, call: Callable[[], _Answer]) -> _Answer:
        while True:
            try:
                return call()
            except _OUTAGE_ERRORS:
                self._check_deadline()
                time.sleep(0.5)

    def _check_deadline(self) -> None:
        if time.monotonic() - self.began > MAX_SECONDS:
            sys.exit(f"error: the drill did not end within {MAX_SECONDS:.0f} s")


def main(seed: Annotated[int, typer.Option(help="Decides what is killed when.")] = 0) -> None:
    """Run the drill; ends with exit code 1 if something is not as it must be."""
    began = time.monotonic()
    with home.temporary() as folder, mail_sink.recording_sink(folder.parent) as sink:
        bundles = json.dumps(_BUNDLES)
        stack = up(
            folder,
            caller_environment=home.caller_environment(
                **{CONNECTION: sink.connection, "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundles}
            ),
            options=StackOptions(Sandbox("faults", opened=_DAY, day=_DAY), ui_port=None),
        )
        drill = Drill(stack, sink, began)
        with AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as airflow:
            airflow.wait_for_dag(_DAG)
            airflow.unpause(_DAG)
        reckonings = [_run_undisturbed(drill), _run_with_kills(drill, Killer(folder), seed)]
    wrong = [each for reckoning in reckonings for each in reckoning.violations]
    for each in wrong:
        typer.echo(f"WRONG: {each}")
    typer.echo(f"{len(wrong)} rules are broken." if wrong else "Every rule holds.")
    sys.exit(1 if wrong else 0)


def _run_undisturbed(drill: Drill) -> RunVerdict:
    """Send a run in which nothing is killed."""
    drill.add_users(UNDISTURBED_USERS)
    state = drill.wait(drill.trigger(period=audience.MONTH_BEFORE))
    found = drill.verify(drill.wait_until_planned(audience.MONTH_BEFORE), earlier_mails=0, killed=False)
    drill.say(f"nothing killed: {state}; {found}")
    return found


def _run_with_kills(drill: Drill, killer: Killer, seed: int) -> RunVerdict:
    """Send a run, kill in the middle of it, and run again what failed."""
    chance = random.Random(seed)
    victims = chance.sample(_VICTIMS, KILLS)
    drill.say(f"seed {seed}: {', '.join(victim.name.lower() for victim in victims)}")
    drill.add_users(USERS)
    known = drill.sink.count()
    airflow_run = drill.trigger(period=audience.MONTH)
    run_id = drill.wait_until_planned(audience.MONTH)
    for number, victim in enumerate(victims, 1):
        while not drill.wait_for_mails(airflow_run):
            airflow_run = _rerun_failed(drill, run_id, airflow_run)
        time.sleep(chance.uniform(0.5, 4))
        dead = time.monotonic()
        processes = killer.kill(victim)
        drill.say(
            f"kill {number} of {KILLS}: {victim.name.lower()}, {processes} processes, after "
            f"{drill.sink.count() - known:,} mails"
        )
        killer.wait_until_restarted(victim, dead)
    drill.say(f"the last kill is over, {drill.count_unfinished(run_id)} chunks are left")
    while drill.wait(airflow_run) and drill.count_unfinished(run_id):
        airflow_run = _rerun_failed(drill, run_id, airflow_run)
    found = drill.verify(run_id, earlier_mails=known, killed=True)
    drill.say(f"{KILLS} kills: {drill.state(airflow_run)}; {found}")
    return found


def _rerun_failed(drill: Drill, run_id: int, airflow_run: str) -> str:
    """Run again what failed."""
    left = drill.count_unfinished(run_id)
    if not left:
        sys.exit("error: everything was sent before the last kill; let the drill have more users")
    drill.say(f"the run of the Dag ended as {drill.state(airflow_run)} with {left} chunks left; they are run again")
    return drill.trigger(run_id=run_id)


if __name__ == "__main__":
    typer.run(main)
