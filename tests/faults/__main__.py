"""`python -m tests.faults`: kill programs ten times while a notice is sent, and verify that no user gets a mail twice.

Runs through Airflow, Celery, Postgres, Valkey and a mail server that records every mail. The first run has no kills. In
the second, a worker, Valkey and Postgres are killed while mails arrive, in an order and at moments that `--seed`
decides. Tasks that failed permanently are run again. It takes about ten minutes.
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
"""Recipients per page, for one second at the pace of the drill's Dag."""
UNDISTURBED_USERS, USERS = 1_000, 12_000
KILLS = 10
MAX_SECONDS = 700.0
"""Upper bound of the duration of the drill."""

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
"""Errors of clients whose server was killed."""
_Response = TypeVar("_Response")


@dataclass
class Drill:
    """A stack on which runs are sent and programs are killed.

    Parameters
    ----------
    stack, sink
        The stack, and its mail server.
    began
        Start of the drill, in seconds of the monotonic clock.
    """

    stack: Stack
    sink: MailSink
    began: float

    def say(self, text: str) -> None:
        """Print a message with the seconds since the start."""
        typer.echo(f"{time.monotonic() - self.began:6.1f} s  {text}")

    def trigger(self, **conf: object) -> str:
        """Start a run of the Dag, and return its id in Airflow."""
        return self._with_retries(lambda: self._airflow(lambda api: api.trigger(_DAG, **conf).run_id))

    def state(self, run_id: str) -> str:
        """Return the state of a run of the Dag."""
        return self._with_retries(lambda: self._airflow(lambda api: api.get_run(_DAG, run_id).state))

    def wait_until_planned(self, period: str) -> int:
        """Wait until the run of a period is planned, and return its id in the warehouse."""
        while (run_id := self._with_retries(lambda: self._find_run(period))) is None:
            self._check_deadline()
            time.sleep(0.2)
        return run_id

    def count_unfinished(self, run_id: int) -> int:
        """Return how many chunks of a run are not finished."""
        return len(self._with_retries(lambda: self._unfinished(run_id)))

    def wait(self, airflow_run: str) -> str:
        """Wait until a run of the Dag has ended, and return its state."""
        while (state := self.state(airflow_run)) not in ("success", "failed"):
            self._check_deadline()
            time.sleep(0.5)
        return state

    def wait_for_mails(self, airflow_run: str) -> bool:
        """Wait for another mail, and return whether it arrived before the run ended."""
        earlier_mails = self.sink.count()
        while self.sink.count() <= earlier_mails:
            if self.state(airflow_run) in ("success", "failed"):
                return False
            self._check_deadline()
            time.sleep(0.2)
        return True

    def verify(self, run_id: int, *, earlier_mails: int, killed: bool) -> RunVerdict:
        """Check a finished run; its mails are those after the first `earlier_mails`."""
        with connect_warehouse(self.stack.environment) as db:
            return verify_run(db, run_id, self.sink.addresses()[earlier_mails:], page=PAGE_SIZE, killed=killed)

    def add_users(self, users: int) -> None:
        """Add users until `users` exist."""
        with connect_warehouse(self.stack.environment) as db:
            audience.add_users(db, users, category=MONTHLY_REPORT.category.name)

    def _airflow(self, call: Callable[[AirflowApi], _Response]) -> _Response:
        with AirflowApi(self.stack.ui_url, user=ADMIN, password=self.stack.ui_password) as api:
            return call(api)

    def _find_run(self, period: str) -> int | None:
        with connect_warehouse(self.stack.environment) as db:
            run = runs.find_by_period(db, MONTHLY_REPORT, period)
            return None if run is None else run.run_id

    def _unfinished(self, run_id: int) -> list[int]:
        with connect_warehouse(self.stack.environment) as db:
            return chunks.list_unfinished(db, run_id)

    def _with_retries(self, call: Callable[[], _Response]) -> _Response:
        while True:
            try:
                return call()
            except _OUTAGE_ERRORS:
                self._check_deadline()
                time.sleep(0.5)

    def _check_deadline(self) -> None:
        if time.monotonic() - self.began > MAX_SECONDS:
            sys.exit(f"error: the drill did not end within {MAX_SECONDS:.0f} s")


def main(seed: Annotated[int, typer.Option(help="Seed of the order and the moments of the kills.")] = 0) -> None:
    """Run the drill; end with exit code 1 if a rule is violated."""
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
        verdicts = [_run_undisturbed(drill), _run_with_kills(drill, Killer(folder), seed)]
    violations = [violation for verdict in verdicts for violation in verdict.violations]
    for violation in violations:
        typer.echo(f"VIOLATED: {violation}")
    typer.echo(f"{len(violations)} rules are violated." if violations else "Every rule holds.")
    sys.exit(1 if violations else 0)


def _run_undisturbed(drill: Drill) -> RunVerdict:
    """Send a run without kills."""
    drill.add_users(UNDISTURBED_USERS)
    state = drill.wait(drill.trigger(period=audience.MONTH_BEFORE))
    verdict = drill.verify(drill.wait_until_planned(audience.MONTH_BEFORE), earlier_mails=0, killed=False)
    drill.say(f"no kills: {state}; {verdict}")
    return verdict


def _run_with_kills(drill: Drill, killer: Killer, seed: int) -> RunVerdict:
    """Send a run, kill programs while it sends, and run failed tasks again."""
    rng = random.Random(seed)
    victims = rng.sample(_VICTIMS, KILLS)
    drill.say(f"seed {seed}: {', '.join(victim.name.lower() for victim in victims)}")
    drill.add_users(USERS)
    earlier_mails = drill.sink.count()
    airflow_run = drill.trigger(period=audience.MONTH)
    run_id = drill.wait_until_planned(audience.MONTH)
    for number, victim in enumerate(victims, 1):
        while not drill.wait_for_mails(airflow_run):
            airflow_run = _rerun_failed(drill, run_id, airflow_run)
        time.sleep(rng.uniform(0.5, 4))
        killed_at = time.monotonic()
        processes = killer.kill(victim)
        drill.say(
            f"kill {number} of {KILLS}: {victim.name.lower()}, {processes} processes, after "
            f"{drill.sink.count() - earlier_mails:,} mails"
        )
        killer.wait_until_restarted(victim, killed_at)
    drill.say(f"after the last kill, {drill.count_unfinished(run_id)} chunks are unfinished")
    while drill.wait(airflow_run) and drill.count_unfinished(run_id):
        airflow_run = _rerun_failed(drill, run_id, airflow_run)
    verdict = drill.verify(run_id, earlier_mails=earlier_mails, killed=True)
    drill.say(f"{KILLS} kills: {drill.state(airflow_run)}; {verdict}")
    return verdict


def _rerun_failed(drill: Drill, run_id: int, airflow_run: str) -> str:
    """Trigger the unfinished chunks of a run again, and return the id of the new run of the Dag."""
    unfinished = drill.count_unfinished(run_id)
    if not unfinished:
        sys.exit("error: everything was sent before the last kill; increase USERS")
    drill.say(
        f"the run of the Dag: {drill.state(airflow_run)}, with {unfinished} unfinished chunks; they are run again"
    )
    return drill.trigger(run_id=run_id)


if __name__ == "__main__":
    typer.run(main)
