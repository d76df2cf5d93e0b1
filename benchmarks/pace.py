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
from dev.stack.plan import Wishes
from dev.stack.up import Extent, up
from etl.catalog.entities import ENTITIES
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.db import connection as warehouse
from etl.db import migrations
from etl.db.connection import Warehouse
from etl.notify.store import runs
from etl.settings import Endpoint

PACE, FASTER = 200, 400
"""Mails a second that are asked for, first and after the change."""
SENDERS = (1, 2, 4, 8)
WINDOW, QUICK_WINDOW = timedelta(seconds=16), timedelta(seconds=8)
"""How long is measured."""
OFF = 3
"""Most per cent that the pace may differ."""
EFFECT = 2
"""Most seconds until a change takes effect."""

_USERS = 16_000
_DAY = date(2026, 1, 1)
_WARM = 3.0
"""Seconds from the first mail until the window begins."""
_DEAD = 3.0
"""Seconds until a killed sender comes back."""
_SILENT = 60.0
_CELERY_WINDOW = 8.0
"""Most seconds of what is only there to be compared with."""
_REACHED = 0.95
"""Share of the new pace at which it counts as reached."""


@dataclass
class Scene:
    """Where it is measured.

    Parameters
    ----------
    warehouse, sink, environment, folder
        The servers, the environment of senders, and the folder of logs.
    window
        Seconds.
    """

    warehouse: Warehouse
    sink: MailSink
    environment: Mapping[str, str]
    folder: Path
    window: float

    def pace(self, *, during: Callable[[], None] = lambda: None) -> float:
        """Wait for mails, and return how many a second arrived in a window that begins soon after the first."""
        begins = self.first_of(len(self.sink.instants())) + _WARM
        _sleep_until(begins)
        during()
        _sleep_until(begins + self.window + 0.2)
        return self.between(begins, begins + self.window)

    def first_of(self, known: int) -> float:
        """Return when the first mail came beside those that are known."""
        deadline = time.monotonic() + _SILENT
        while len(instants := self.sink.instants()) <= known:
            if time.monotonic() > deadline:
                sys.exit("error: nothing is sent")
            time.sleep(0.05)
        return instants[known]

    def between(self, start: float, stop: float) -> float:
        """Return how many mails a second arrived between two instants."""
        return sum(start <= instant < stop for instant in self.sink.instants()) / (stop - start)


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Shorter; nothing is kept.")] = False,
) -> None:
    """Measure, show and keep the results; ends with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    window = QUICK_WINDOW if quick else WINDOW
    with home.temporary() as folder, mail_sink.exact(folder.parent) as sink:
        wishes = Wishes(Sandbox("benchmarks", opened=_DAY, day=_DAY), ui=None)
        stack = up(folder, extent=Extent.SERVERS, caller=home.caller(), wishes=wishes, say=console.print)
        with warehouse.connect(Endpoint.from_environment("warehouse", stack.environment)) as connection:
            migrations.migrate(connection, [entity.name for entity in ENTITIES])
            audience.grow(connection, _USERS, category=MONTHLY_REPORT.category.name)
            environment = celery_workers.environment(stack, sink)
            scene = Scene(connection, sink, environment, folder.parent, window.total_seconds())
            results = [*_steady(scene), _killed(scene), *_changed(scene)]
            result.show(results, console)
            beside = _celery(scene)
    result.show(beside, console)
    if not quick:
        result.append([*results, *beside], command="python -m benchmarks.pace")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _steady(scene: Scene) -> list[Result]:
    found = []
    for count in SENDERS:
        with sending(scene.warehouse, scene.environment, f"2024-0{count}", pace=PACE, count=count):
            found.append(_within(f"asked {PACE}/s, {count} senders", scene.pace(), PACE))
    return found


def _killed(scene: Scene) -> Result:
    """Kill one of two senders, and let it come back."""
    with sending(scene.warehouse, scene.environment, "2024-06", pace=PACE, count=2) as senders:

        def kill() -> None:
            time.sleep(scene.window / 4)
            senders.kill(0)
            time.sleep(_DEAD)
            senders.start(0)

        pace = scene.pace(during=kill)
        unknown = runs.totals(scene.warehouse, senders.run_id)["unknown"]
    name = f"asked {PACE}/s, one of two senders killed and back after {_DEAD:g} s"
    return _within(name, pace, PACE, unknown=unknown)


def _changed(scene: Scene) -> list[Result]:
    """Ask two senders for twice the pace."""
    with sending(scene.warehouse, scene.environment, "2024-07", pace=PACE, count=2) as senders:
        before = scene.pace()
        asked = _steer(scene, senders)
        _sleep_until(asked + EFFECT + scene.window + 0.2)
        after = scene.between(asked + EFFECT, asked + EFFECT + scene.window)
        took = _took(scene, asked)
    name = f"change from {PACE}/s to {FASTER}/s"
    detail = {"mails_a_second_before": round(before, 1)}
    return [
        Result(f"{name}: until it takes effect", f"<= {EFFECT} s", f"{took:.2f} s", took <= EFFECT, detail),
        _within(f"{name}: afterwards", after, FASTER),
    ]


def _steer(scene: Scene, senders: Senders) -> float:
    runs.steer(scene.warehouse, senders.run_id, pace=FASTER)
    return time.monotonic()


def _took(scene: Scene, asked: float) -> float:
    """Return the seconds until the first second in which mails arrive at the new pace."""
    tenths = int(scene.window * 10)
    reached = (
        tenth / 10
        for tenth in range(tenths)
        if scene.between(asked + tenth / 10, asked + tenth / 10 + 1) >= _REACHED * FASTER
    )
    return next(reached, scene.window)


def _celery(scene: Scene) -> list[Result]:
    """Ask plain Celery for the same pace.

    With more messages taken in advance, such as by default, its worker soon sends but one or two a second.
    """
    found = []
    plain_celery.app.conf.broker_url = scene.environment[plain_celery.BROKER]
    window = min(scene.window, _CELERY_WINDOW)
    for workers in SENDERS:
        celery_workers.client(scene.environment)
        with plain_celery.app.producer_pool.acquire(block=True) as producer:
            for number in range(int(PACE * workers * (window + 2 * _WARM))):
                plain_celery.tell_slowly.apply_async((number + 1,), producer=producer)
        known = len(scene.sink.instants())
        with celery_workers.running(scene.environment, scene.folder, workers=workers, processes=1, prefetch=1):
            begins = scene.first_of(known) + _WARM
            _sleep_until(begins + window + 0.2)
            pace = scene.between(begins, begins + window)
        name = f"plain Celery, rate_limit='{plain_celery.PACE}', {workers} workers"
        found.append(Result(name, "none", f"{pace:.1f}/s", reached=True))
    return found


def _within(name: str, pace: float, asked: float, **detail: object) -> Result:
    off = 100 * (pace - asked) / asked
    return Result(name, f"± {OFF} %", f"{pace:.1f}/s ({off:+.1f} %)", abs(off) <= OFF, detail)


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))


if __name__ == "__main__":
    typer.run(main)
