"""Measures the peak memory of each task, from outside while it runs."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from etl.db.connection import connect_url

MIB = 1 << 20
_POLL_SECONDS = 0.1
_TITLE = re.compile(rb"airflow worker -- ([0-9a-f-]{36})")
"""Title of a task's process, with the id of the task instance."""
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_STEPS = "select id::text, dag_id, task_id from task_instance where id::text = any(%s) order by start_date"


class TaskMemory:
    """Polls the peak memory of task processes; a context manager.

    A process's peak only rises, so that only growth in the last tenth of a second of a task can be missed.
    """

    def __init__(self) -> None:
        self._peaks: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Self:
        """Start polling."""
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Stop polling."""
        self._stop.set()
        self._thread.join()

    def peaks(self, metadata_url: str) -> dict[str, int]:
        """Return step, as `dag.task` → peak memory (VmHWM) in bytes; the names come from Airflow's database."""
        with connect_url(metadata_url) as connection:
            rows = connection.execute(_STEPS, (list(self._peaks),)).fetchall()
        steps: dict[str, int] = {}
        for instance, dag_id, task_id in rows:
            step = f"{dag_id}.{task_id}"
            steps[step] = max(steps.get(step, 0), self._peaks[instance])
        return steps

    def _poll(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            for process in Path("/proc").glob("[0-9]*"):
                self._read_peak(process)

    def _read_peak(self, process: Path) -> None:
        try:
            title = _TITLE.match((process / "cmdline").read_bytes())
            peak = _PEAK.search((process / "status").read_text()) if title else None
        except OSError:
            return
        if title and peak:
            instance = title[1].decode()
            self._peaks[instance] = max(self._peaks.get(instance, 0), int(peak[1]) * 1024)
