"""What a task meets that outgrows its cap, whoever allocates for it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.airflow_environment import ENVIRONMENT
from tests.dags.conftest import ROOT

_IN_FORKS = """
import json, os, threading
from dataclasses import replace

import airflow, numpy, pyarrow

from etl.catalog.queues import ETL
from sluice_memory_limit import MIB, MemoryCapExceeded, with_memory_cap

def endlessly(allocate):
    kept = []
    while len(kept) < 200:
        kept.append(allocate())

def follow_another(_):
    with_memory_cap(lambda _: None, small)({})
    return with_memory_cap(lambda _: "followed", small)({})

def meet_in_threads(count):
    meeting = threading.Barrier(count + 1)
    for _ in range(count):
        threading.Thread(target=meeting.wait, daemon=True).start()
    meeting.wait(10)
    return "met"

TASKS = {
    "bytes": lambda _: endlessly(lambda: bytes(MIB)),
    "small objects": lambda _: endlessly(lambda: [str(number) for number in range(10_000)]),
    "numpy": lambda _: endlessly(lambda: numpy.ones(MIB // 8)),
    "arrow": lambda _: endlessly(lambda: pyarrow.nulls(MIB // 8, pyarrow.int64())),
    "thrifty": lambda _: f"{len(bytes(40 * MIB)) // MIB} MiB",
    "threads": lambda _: meet_in_threads(32),
    "second": follow_another,
}
small = replace(ETL, name="small", memory=64)
for name, execute in TASKS.items():
    if os.fork() == 0:
        try:
            said = with_memory_cap(execute, small)({})
        except MemoryCapExceeded as outgrown:
            report = bytes(32 * MIB)
            said = str(outgrown)
        print(json.dumps([name, said]), flush=True)
        os._exit(0)
    os.wait()
"""
OUTGROWN = (
    "the task outgrew its cap of 64 MiB (queue small): {}; "
    "cut chunk_size, or raise `memory` of the queue in include/etl/catalog/queues.py"
)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what tasks say, each in a process of its own with a cap of 64 MiB."""
    path = ":".join(str(ROOT / folder) for folder in ("include", "plugins"))
    environment = {**ENVIRONMENT, "PYTHONPATH": path, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))}
    command = [sys.executable, "-c", _IN_FORKS]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize(
    ("task", "found"),
    [
        ("bytes", "no more could be allocated"),
        ("small objects", "no more could be allocated"),
        ("numpy", "Unable to allocate 1.00 MiB for an array with shape (131072,) and data type float64"),
        ("arrow", "malloc of size 1048576 failed"),
    ],
)
def test_a_task_that_outgrows_its_cap_fails_with_the_cap_and_can_still_report(
    said: dict[str, str], task: str, found: str
) -> None:
    assert said[task] == OUTGROWN.format(found)


def test_a_task_below_its_cap_is_not_affected(said: dict[str, str]) -> None:
    assert said["thrifty"] == "40 MiB"


def test_a_task_in_the_process_of_another_keeps_the_lower_limit(said: dict[str, str]) -> None:
    assert said["second"] == "followed"


def test_the_stacks_of_threads_do_not_use_the_cap_up(said: dict[str, str]) -> None:
    assert said["threads"] == "met"
