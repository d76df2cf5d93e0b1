"""Celery workers without Airflow, on a database of the stack's broker that nothing else uses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import redis

from benchmarks.support import plain_celery
from benchmarks.support.mail_sink import CONNECTION, MailSink
from dev.stack.home import REPOSITORY
from dev.stack.stack import Stack

_DATABASE = 9
_START_TIMEOUT = timedelta(seconds=60)
_POLL = timedelta(milliseconds=100)


def environment(stack: Stack, sink: MailSink) -> dict[str, str]:
    """Return the environment of a process that sends without Airflow: a bare process, or a worker of plain Celery."""
    paths = (str(REPOSITORY), str(REPOSITORY / "include"))
    broker = urlsplit(stack.broker_url)._replace(path=f"/{_DATABASE}").geturl()
    return {
        **stack.environment,
        CONNECTION: sink.connection,
        plain_celery.BROKER_VARIABLE: broker,
        "PYTHONPATH": os.pathsep.join(paths),
    }


@contextmanager
def running(
    environment: Mapping[str, str], folder: Path, *, workers: int = 1, processes: int, prefetch: int = 4
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run workers during the block; they are ready when it begins.

    Parameters
    ----------
    environment
        Environment of the workers.
    folder
        Folder for their logs.
    workers
        Number of workers, each as if on a machine of its own.
    processes
        Processes per worker.
    prefetch
        Messages that a worker prefetches for each of its processes; 4 is Celery's default.
    """
    with ExitStack() as stack:
        logs = [folder / f"celery-{time.monotonic_ns()}-{number}.log" for number in range(workers)]
        running_workers = [
            stack.enter_context(_worker(environment, log, number=number, processes=processes, prefetch=prefetch))
            for number, log in enumerate(logs)
        ]
        _wait_until_ready(logs)
        yield running_workers


def empty_broker(environment: Mapping[str, str]) -> redis.Redis:
    """Empty the broker's database, and return a connection to it."""
    server = redis.Redis.from_url(environment[plain_celery.BROKER_VARIABLE])
    server.flushdb()
    return server


@contextmanager
def _worker(
    environment: Mapping[str, str], log: Path, *, number: int, processes: int, prefetch: int
) -> Iterator[subprocess.Popen[bytes]]:
    size = ("--concurrency", str(processes), "--prefetch-multiplier", str(prefetch))
    options = (*size, "--hostname", f"plain-{number}@%h", "--loglevel", "warning")
    command = (sys.executable, "-m", "celery", "--app", "benchmarks.support.plain_celery", "worker", *options)
    with (
        log.open("wb") as output,
        subprocess.Popen(
            (*command, "--without-gossip", "--without-mingle"),
            cwd=log.parent,
            env=dict(environment),
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def _wait_until_ready(logs: list[Path]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT.total_seconds()
    while not all(plain_celery.READY_LINE.encode() in log.read_bytes() for log in logs):
        if time.monotonic() > deadline:
            sys.exit(f"error: a Celery worker does not start\n{logs[0].read_text()[-2000:]}")
        time.sleep(_POLL.total_seconds())
