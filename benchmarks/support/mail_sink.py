"""A fast mail server that accepts and discards: Postfix's `smtp-sink` if installed, or else `dev.mail.sink`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.servers.ports import LOOPBACK, candidates, is_free
from dev.stack.home import REPOSITORY

CONNECTION = "AIRFLOW_CONN_NOTICES_EMAIL"
_SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
_START_SECONDS = 20.0
_TAIL_BYTES = 200
_MESSAGE_COUNT = re.compile(rb"mesg=(\d+)")


@dataclass(frozen=True)
class MailSink:
    """A mail server that discards every mail.

    Parameters
    ----------
    program
        `smtp-sink`, or `dev.mail.sink`, which is slower.
    port
        Its port on the loopback interface.
    record
        File that it writes: a running count (`smtp-sink`), or a line for each mail (`dev.mail.sink`).
    """

    program: str
    port: int
    record: Path

    @property
    def connection(self) -> str:
        """The Airflow connection to the server, as JSON."""
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "Sluice <reports@bank.example>"}
        return json.dumps({"conn_type": "smtp", "host": LOOPBACK, "port": self.port, "extra": extra})

    def count(self) -> int:
        """Return how many mails have arrived."""
        if self.program != "smtp-sink":
            return len(self.instants())
        with self.record.open("rb") as file:
            file.seek(max(0, self.record.stat().st_size - _TAIL_BYTES))
            counts = _MESSAGE_COUNT.findall(file.read())
        return int(counts[-1]) if counts else 0

    def instants(self) -> list[float]:
        """Return when each mail arrived, in seconds of the monotonic clock; only `dev.mail.sink` records this."""
        return [float(instant) for _, instant, _ in self._lines()]

    def addresses(self) -> list[str]:
        """Return the address of each mail; only `dev.mail.sink` records this."""
        return [address.decode() for *_, address in self._lines()]

    def _lines(self) -> Iterator[list[bytes]]:
        return (line.split() for line in self.record.read_bytes().split(b"\n")[:-1])


@contextmanager
def fastest_sink(folder: Path) -> Iterator[MailSink]:
    """Run the fastest mail server that is installed."""
    smtp_sink = shutil.which("smtp-sink", path=_SEARCH_PATH)
    if not smtp_sink:
        with recording_sink(folder) as sink:
            yield sink
        return
    sink = MailSink("smtp-sink", _free_port(), folder / "smtp-sink.txt")
    # smtp-sink refuses to run as root.
    account = ("-u", "nobody") if os.geteuid() == 0 else ()
    command = (smtp_sink, *account, "-c", f"{LOOPBACK}:{sink.port}", "512")
    with sink.record.open("wb") as output, _running(command, output):
        _wait_until_listening(sink)
        yield sink


@contextmanager
def recording_sink(folder: Path) -> Iterator[MailSink]:
    """Run the mail server that records the arrival and the address of each mail."""
    sink = MailSink("dev.mail.sink", _free_port(), folder / "mails.txt")
    arguments = ("--port", str(sink.port), "--record", str(sink.record))
    with _running((sys.executable, "-m", "dev.mail.sink", *arguments), None):
        _wait_until_listening(sink)
        yield sink


@contextmanager
def _running(command: tuple[str, ...], output: object) -> Iterator[None]:
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=output) as process:  # type: ignore[call-overload] # a file
        try:
            yield
        finally:
            process.terminate()


def _free_port() -> int:
    return next(port for port in candidates() if is_free(port))


def _wait_until_listening(sink: MailSink) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while is_free(sink.port):
        if time.monotonic() > deadline:
            sys.exit(f"error: {sink.program} does not listen on port {sink.port}")
        time.sleep(0.05)
