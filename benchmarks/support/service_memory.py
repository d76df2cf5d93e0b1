"""Measures the memory of the broker and of the scheduler."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from dev.servers import processes
from dev.stack.home import HOME_VARIABLE
from dev.stack.stack import Stack

_POLL_SECONDS = 0.1
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


class BrokerMemory:
    """Polls the memory of the broker; a context manager.

    Parameters
    ----------
    url
        URL of the broker.

    Attributes
    ----------
    growth
        Bytes from the memory at the beginning to the peak since then.
    """

    def __init__(self, url: str) -> None:
        self._server = redis.Redis.from_url(url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._before = self._used("used_memory")
        self._peak_before = self._used("used_memory_peak")
        self.growth = 0

    def __enter__(self) -> Self:
        """Start polling."""
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Stop polling."""
        self._stop.set()
        self._thread.join()
        peak = self._used("used_memory_peak")
        if peak > self._peak_before:
            self.growth = max(self.growth, peak - self._before)

    def _poll(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            self.growth = max(self.growth, self._used("used_memory") - self._before)

    def _used(self, name: str) -> int:
        memory = self._server.info("memory")
        return int(memory[name])


def scheduler_peak(stack: Stack) -> int:
    """Return the highest peak memory (VmHWM) of a scheduler process in bytes."""
    peaks = [0]
    for process in processes.with_environment(HOME_VARIABLE, str(stack.home)):
        folder = Path("/proc") / str(process.pid)
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        if b"scheduler" in command and (peak := _PEAK.search((folder / "status").read_text())):
            peaks.append(int(peak[1]) * 1024)
    return max(peaks)
