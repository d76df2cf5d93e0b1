"""`python -m benchmarks.pace`: two hundred mails per second, however many processes send them.

Bare processes send chunks of one run. For comparison, as many plain Celery workers send with a `rate_limit` of the same
pace. The rate is that at which mails arrive.
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
from benchmarks.support.result import BenchmarkResult
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
"""Mails per second that are requested, at first and after the change."""
SENDERS = (1, 2, 4, 8)
WINDOW, QUICK_WINDOW = timedelta(seconds=16), timedelta(seconds=8)
"""Length of a measurement."""
MAX_DEVIATION_PERCENT = 3
"""Upper bound of the deviation from the requested pace, in per cent."""
MAX_EFFECT_SECONDS = 2
"""Upper bound of the time until a change takes effect, in seconds."""

_USERS = 16_000
_DAY = date(2026, 1, 1)
_WARM_UP_SECONDS = 3.0
"""Seconds from the first mail to the start of the window."""
_RESTART_SECONDS = 3.0
"""Seconds until a killed sender is started again."""
_MAX_SILENCE_SECONDS = 60.0
_MAX_CELERY_WINDOW = 8.0
"""Upper bound of the window for plain Celery, which is only a comparison, in seconds."""
_REACHED_SHARE = 0.95
"""Share of the new pace from which it counts as reached."""


@dataclass
class PaceSetup:
    """What a measurement needs.

    Parameters
    ----------
    db, sink
        The warehouse and the mail server.
    environment
        Environment of the senders.
    folder
        Folder of their logs.
    window_seconds
        Length of the window in which mails are counted.
    """

    db: Connection
    sink: MailSink
    environment: Mapping[str, str]
    folder: Path
    window_seconds: float

    def measure_pace(self, *, during: Callable[[], None] = lambda: None) -> float:
        """Wait for mails, and return how many per second arrived in a window that begins soon after the first."""
        start = self.wait_for_first(len(self.sink.instants())) + _WARM_UP_SECONDS
        _sleep_until(start)
        during()
        _sleep_until(start + self.window_seconds + 0.2)
        return self.pace_between(start, start + self.window_seconds)

    def wait_for_first(self, earlier_mails: int) -> float:
        """Wait for the first mail after `earlier_mails` ones, and return when it arrived."""
        deadline = time.monotonic() + _MAX_SILENCE_SECONDS
        while len(instants := self.sink.instants()) <= earlier_mails:
            if time.monotonic() > deadline:
                sys.exit("error: no mail arrives")
            time.sleep(0.05)
        return instants[earlier_mails]

    def pace_between(self, start: float, stop: float) -> float:
        """Return how many mails per second arrived between two instants."""
        return sum(start <= instant < stop for instant in self.sink.instants()) / (stop - start)


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Measure for a shorter time; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    window = QUICK_WINDOW if quick else WINDOW
    with home.temporary() as folder, mail_sink.recording_sink(folder.parent) as sink:
        stack = up(
            folder,
            scope=StackScope.SERVERS,
            caller_environment=home.caller_environment(),
            options=StackOptions(Sandbox("benchmarks", opened=_DAY, day=_DAY), ui_port=None),
            say=console.print,
        )
        with connect_warehouse(stack.environment) as db:
            migrations.migrate(db, ENTITIES)
            audience.add_users(db, _USERS, category=MONTHLY_REPORT.category.name)
            environment = celery_workers.environment(stack, sink)
            setup = PaceSetup(db, sink, environment, folder.parent, window.total_seconds())
            results = [*_measure_steady(setup), _measure_kill(setup), *_measure_change(setup)]
            result.show(results, console)
            celery_results = _measure_celery(setup)
    result.show(celery_results, console)
    if not quick:
        result.append([*results, *celery_results], command="python -m benchmarks.pace")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure_steady(setup: PaceSetup) -> list[BenchmarkResult]:
    results = []
    for count in SENDERS:
        with sending(setup.db, setup.environment, f"2024-0{count}", pace=MAILS_A_SECOND, count=count):
            pace = setup.measure_pace()
        results.append(_pace_result(f"asked {MAILS_A_SECOND}/s, {count} senders", pace, MAILS_A_SECOND))
    return results


def _measure_kill(setup: PaceSetup) -> BenchmarkResult:
    """Kill one of two senders during the measurement, and start it again."""
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


def _measure_change(setup: PaceSetup) -> list[BenchmarkResult]:
    """Double the pace of two senders."""
    with sending(setup.db, setup.environment, "2024-07", pace=MAILS_A_SECOND, count=2) as senders:
        before = setup.measure_pace()
        changed_at = _change_pace(setup, senders)
        start = changed_at + MAX_EFFECT_SECONDS
        _sleep_until(start + setup.window_seconds + 0.2)
        after = setup.pace_between(start, start + setup.window_seconds)
        effect_seconds = _seconds_until_effect(setup, changed_at)
    name = f"change from {MAILS_A_SECOND}/s to {CHANGED_MAILS_A_SECOND}/s"
    detail = {"mails_a_second_before": round(before, 1)}
    return [
        BenchmarkResult(
            f"{name}: until it takes effect",
            f"<= {MAX_EFFECT_SECONDS} s",
            f"{effect_seconds:.2f} s",
            effect_seconds <= MAX_EFFECT_SECONDS,
            detail,
        ),
        _pace_result(f"{name}: afterwards", after, CHANGED_MAILS_A_SECOND),
    ]


def _change_pace(setup: PaceSetup, senders: Senders) -> float:
    """Change the pace of the run, and return when."""
    runs.set_pace_or_state(setup.db, senders.run_id, pace=CHANGED_MAILS_A_SECOND)
    return time.monotonic()


def _seconds_until_effect(setup: PaceSetup, changed_at: float) -> float:
    """Return the seconds from the change to the beginning of the first second with mails at the new pace."""
    tenths = int(setup.window_seconds * 10)
    reached = (
        tenth / 10
        for tenth in range(tenths)
        if setup.pace_between(changed_at + tenth / 10, changed_at + tenth / 10 + 1)
        >= _REACHED_SHARE * CHANGED_MAILS_A_SECOND
    )
    return next(reached, setup.window_seconds)


def _measure_celery(setup: PaceSetup) -> list[BenchmarkResult]:
    """Measure the pace of plain Celery.

    Its workers prefetch one message: with more, such as the default, a worker soon sends only one or two per second.
    """
    results = []
    plain_celery.app.conf.broker_url = setup.environment[plain_celery.BROKER_VARIABLE]
    window = min(setup.window_seconds, _MAX_CELERY_WINDOW)
    for workers in SENDERS:
        celery_workers.empty_broker(setup.environment)
        with plain_celery.app.producer_pool.acquire(block=True) as producer:
            for number in range(int(MAILS_A_SECOND * workers * (window + 2 * _WARM_UP_SECONDS))):
                plain_celery.send_paced.apply_async((number + 1,), producer=producer)
        earlier_mails = len(setup.sink.instants())
        with celery_workers.running(setup.environment, setup.folder, workers=workers, processes=1, prefetch=1):
            start = setup.wait_for_first(earlier_mails) + _WARM_UP_SECONDS
            _sleep_until(start + window + 0.2)
            pace = setup.pace_between(start, start + window)
        name = f"plain Celery, rate_limit='{plain_celery.RATE_LIMIT}', {workers} workers"
        results.append(BenchmarkResult(name, "none", f"{pace:.1f}/s", reached=True))
    return results


def _pace_result(name: str, pace: float, goal: float, **detail: object) -> BenchmarkResult:
    deviation = 100 * (pace - goal) / goal
    return BenchmarkResult(
        name,
        f"± {MAX_DEVIATION_PERCENT} %",
        f"{pace:.1f}/s ({deviation:+.1f} %)",
        abs(deviation) <= MAX_DEVIATION_PERCENT,
        detail,
    )


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))


if __name__ == "__main__":
    typer.run(main)
