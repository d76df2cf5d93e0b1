"""The most memory that each task had, seen from outside while it ran."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

MIB = 1 << 20
_EVERY_SECONDS = 0.1
_TITLE = re.compile(rb"airflow worker -- ([0-9a-f-]{36})")
"""What a task's process calls itself; the id is that of the task instance."""
_HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_STEPS = "select id::text, dag_id, task_id from task_instance where id::text = any(%s) order by start_date"


class TaskMemory:
    """Watches the processes of tasks; a context manager.

    A high-water mark only rises, so what is missed is at most what a task took in its last tenth of a second.
    """

    def __init__(self) -> None:
        self._peaks: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def peaks(self, metadata_url: str) -> dict[str, int]:
        """Return the peak of each step, `dag.task`, of the Airflow whose database is given, in bytes of VmHWM."""
        with psycopg.connect(metadata_url) as connection:
            found = connection.execute(_STEPS, (list(self._peaks),)).fetchall()
        steps: dict[str, int] = {}
        for instance, dag_id, task_id in found:
            step = f"{dag_id}.{task_id}"
            steps[step] = max(steps.get(step, 0), self._peaks[instance])
        return steps

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            for process in Path("/proc").glob("[0-9]*"):
                self._read_peak(process)

    def _read_peak(self, process: Path) -> None:
        try:
            title = _TITLE.match((process / "cmdline").read_bytes())
            mark = _HIGH_WATER.search((process / "status").read_text()) if title else None
        except OSError:
            return
        if title and mark:
            instance = title[1].decode()
            self._peaks[instance] = max(self._peaks.get(instance, 0), int(mark[1]) * 1024)
