"""`python -m benchmarks.pace`: two hundred mails a second, however many processes send them.

Bare processes send chunks of one run; beside them, plain Celery is asked for the same by its `rate_limit`, with as many
workers. What counts is when the mails arrive.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.support import audience, celery_workers, home, mail_sink, plain_celery, result
from benchmarks.support.mail_sink import MailSink
from benchmarks.support.result import Result
from benchmarks.support.senders import Senders, sending
from dev.servers.bank import Sandbox
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.catalog.entities import ENTITIES
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.db import migrations
from etl.db.connection import Connection, connect_warehouse
from etl.notify.store import runs

MAILS_A_SECOND, CHANGED_MAILS_A_SECOND = 200, 400
"""Mails a second that are asked for, first and after the change."""
SENDERS = (1, 2, 4, 8)
WINDOW, QUICK_WINDOW = timedelta(seconds=16), timedelta(seconds=8)
"""How long is measured."""
MAX_DEVIATION_PERCENT = 3
"""Most per cent that the pace may differ."""
MAX_EFFECT_SECONDS = 2
"""Most seconds until a change takes effect."""

_USERS = 16_000
_DAY = date(2026, 1, 1)
_WARM_UP_SECONDS = 3.0
"""Seconds from the first mail until the window begins."""
_RESTART_SECONDS = 3.0
"""Seconds until a killed sender comes back."""
_MAX_SILENCE_SECONDS = 60.0
_MAX_CELERY_WINDOW = 8.0
"""Most seconds of what is only there to be compared with."""
_REACHED_SHARE = 0.95
"""Share of the new pace at which it counts as reached."""


@dataclass
class PaceSetup:
    """Where it is measured.

    Parameters
    ----------
    warehouse, sink, environment, folder
        The servers, the environment of senders, and the folder of logs.
    window_seconds
        Seconds.
    """

    db: Connection
    sink: MailSink
    environment: Mapping[str, str]
    folder: Path
    window_seconds: float

    def measure_pace(self, *, during: Callable[[], None] = lambda: None) -> float:
        """Wait for mails, and return how many a second arrived in a window that begins soon after the first."""
        begins = self.wait_for_first(len(self.sink.instants())) + _WARM_UP_SECONDS
        _sleep_until(begins)
        during()
        _sleep_until(begins + self.window_seconds + 0.2)
        return self.pace_between(begins, begins + self.window_seconds)

    def wait_for_first(self, earlier_mails: int) -> float:
        """Return when the first mail came beside those that are known."""
        deadline = time.monotonic() + _MAX_SILENCE_SECONDS
        while len(instants := self.sink.instants()) <= earlier_mails:
            if time.monotonic() > deadline:
                sys.exit("error: nothing is sent")
            time.sleep(0.05)
        return instants[earlier_mails]

    def pace_between(self, start: float, stop: float) -> float:
        """Return how many mails a second arrived between two instants."""
        return sum(start <= instant < stop for instant in self.sink.instants()) / (stop - start)


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Shorter; nothing is kept.")] = False,
) -> None:
    """Measure, show and keep the results; ends with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    window = QUICK_WINDOW if quick else WINDOW
    with home.temporary() as folder, mail_sink.recording_sink(folder.parent) as sink:
        wishes = StackOptions(Sandbox("benchmarks", opened=_DAY, day=_DAY), ui_port=None)
        stack = up(
            folder,
            scope=StackScope.SERVERS,
            caller_environment=home.caller_environment(),
            options=wishes,
            say=console.print,
        )
        with connect_warehouse(stack.environment) as db:
            migrations.migrate(db, [entity.name for entity in ENTITIES])
            audience.add_users(db, _USERS, category=MONTHLY_REPORT.category.name)
            environment = celery_workers.environment(stack, sink)
            scene = PaceSetup(db, sink, environment, folder.parent, window.total_seconds())
            results = [*_measure_steady(scene), _measure_kill(scene), *_measure_change(scene)]
            result.show(results, console)
            beside = _measure_celery(scene)
    result.show(beside, console)
    if not quick:
        result.append([*results, *beside], command="python -m benchmarks.pace")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure_steady(setup: PaceSetup) -> list[Result]:
    found = []
    for count in SENDERS:
        with sending(setup.db, setup.environment, f"2024-0{count}", pace=MAILS_A_SECOND, count=count):
            found.append(
                _pace_result(f"asked {MAILS_A_SECOND}/s, {count} senders", setup.measure_pace(), MAILS_A_SECOND)
            )
    return found


def _measure_kill(setup: PaceSetup) -> Result:
    """Kill one of two senders, and let it come back."""
    with sending(setup.db, setup.environment, "2024-06", pace=MAILS_A_SECOND, count=2) as senders:

        def kill() -> None:
            time.sleep(setup.window_seconds / 4)
            senders.kill(0)
            time.sleep(_RESTART_SECONDS)
            senders.start(0)

        pace = setup.measure_pace(during=kill)
        unknown = runs.read_totals(setup.db, senders.run_id)["unknown"]
    name = f"asked {MAILS_A_SECOND}/s, one of two senders killed and back after {_RESTART_SECONDS:g} s"
    return _pace_result(name, pace, MAILS_A_SECOND, unknown=unknown)


def _measure_change(setup: PaceSetup) -> list[Result]:
    """Ask two senders for twice the pace."""
    with sending(setup.db, setup.environment, "2024-07", pace=MAILS_A_SECOND, count=2) as senders:
        before = setup.measure_pace()
        asked = _change_pace(setup, senders)
        _sleep_until(asked + MAX_EFFECT_SECONDS + setup.window_seconds + 0.2)
        after = setup.pace_between(asked + MAX_EFFECT_SECONDS, asked + MAX_EFFECT_SECONDS + setup.window_seconds)
        took = _seconds_until_effect(setup, asked)
    name = f"change from {MAILS_A_SECOND}/s to {CHANGED_MAILS_A_SECOND}/s"
    detail = {"mails_a_second_before": round(before, 1)}
    return [
        Result(
            f"{name}: until it takes effect",
            f"<= {MAX_EFFECT_SECONDS} s",
            f"{took:.2f} s",
            took <= MAX_EFFECT_SECONDS,
            detail,
        ),
        _pace_result(f"{name}: afterwards", after, CHANGED_MAILS_A_SECOND),
    ]


def _change_pace(setup: PaceSetup, senders: Senders) -> float:
    runs.set_pace_or_state(setup.db, senders.run_id, pace=CHANGED_MAILS_A_SECOND)
    return time.monotonic()


def _seconds_until_effect(setup: PaceSetup, changed_at: float) -> float:
    """Return the seconds until the first second in which mails arrive at the new pace."""
    tenths = int(setup.window_seconds * 10)
    reached = (
        tenth / 10
        for tenth in range(tenths)
        if setup.pace_between(changed_at + tenth / 10, changed_at + tenth / 10 + 1)
        >= _REACHED_SHARE * CHANGED_MAILS_A_SECOND
    )
    return next(reached, setup.window_seconds)


def _measure_celery(setup: PaceSetup) -> list[Result]:
    """Ask plain Celery for the same pace.

    With more messages taken in advance, such as by default, its worker soon sends but one or two a second.
    """
    found = []
    plain_celery.app.conf.broker_url = setup.environment[plain_celery.BROKER_VARIABLE]
    window = min(setup.window_seconds, _MAX_CELERY_WINDOW)
    for workers in SENDERS:
        celery_workers.empty_broker(setup.environment)
        with plain_celery.app.producer_pool.acquire(block=True) as producer:
            for number in range(int(MAILS_A_SECOND * workers * (window + 2 * _WARM_UP_SECONDS))):
                plain_celery.send_paced.apply_async((number + 1,), producer=producer)
        known = len(setup.sink.instants())
        with celery_workers.running(setup.environment, setup.folder, workers=workers, processes=1, prefetch=1):
            begins = setup.wait_for_first(known) + _WARM_UP_SECONDS
            _sleep_until(begins + window + 0.2)
            pace = setup.pace_between(begins, begins + window)
        name = f"plain Celery, rate_limit='{plain_celery.RATE_LIMIT}', {workers} workers"
        found.append(Result(name, "none", f"{pace:.1f}/s", reached=True))
    return found


def _pace_result(name: str, pace: float, goal: float, **detail: object) -> Result:
    off = 100 * (pace - goal) / goal
    return Result(
        name, f"± {MAX_DEVIATION_PERCENT} %", f"{pace:.1f}/s ({off:+.1f} %)", abs(off) <= MAX_DEVIATION_PERCENT, detail
    )


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))


if __name__ == "__main__":
    typer.run(main)
