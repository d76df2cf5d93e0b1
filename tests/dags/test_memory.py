"""Tasks that exceed their memory cap, whichever library allocates the memory."""

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

def allocate_repeatedly(allocate):
    blocks = []
    while len(blocks) < 200:
        blocks.append(allocate())

def run_a_second_task(_):
    with_memory_cap(lambda _: None, small)({})
    return with_memory_cap(lambda _: "second", small)({})

def start_threads(count):
    barrier = threading.Barrier(count + 1)
    for _ in range(count):
        threading.Thread(target=barrier.wait, daemon=True).start()
    barrier.wait(10)
    return "started"

TASKS = {
    "bytes": lambda _: allocate_repeatedly(lambda: bytes(MIB)),
    "small objects": lambda _: allocate_repeatedly(lambda: [str(number) for number in range(10_000)]),
    "numpy": lambda _: allocate_repeatedly(lambda: numpy.ones(MIB // 8)),
    "arrow": lambda _: allocate_repeatedly(lambda: pyarrow.nulls(MIB // 8, pyarrow.int64())),
    "thrifty": lambda _: f"{len(bytes(40 * MIB)) // MIB} MiB",
    "threads": lambda _: start_threads(32),
    "second": run_a_second_task,
}
small = replace(ETL, name="small", memory=64)
for name, execute in TASKS.items():
    if os.fork() == 0:
        try:
            result = with_memory_cap(execute, small)({})
        except MemoryCapExceeded as error:
            report = bytes(32 * MIB)
            result = str(error)
        print(json.dumps([name, result]), flush=True)
        os._exit(0)
    os.wait()
"""
MESSAGE = (
    "the task exceeded its memory cap of 64 MiB (queue small): {}; "
    "reduce chunk_size, or raise `memory` of the queue in include/etl/catalog/queues.py"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the result or error message of each task, run in its own process with a cap of 64 MiB."""
    path = ":".join(str(ROOT / folder) for folder in ("include", "plugins"))
    environment = {**ENVIRONMENT, "PYTHONPATH": path, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))}
    command = [sys.executable, "-c", _IN_FORKS]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("bytes", "no more could be allocated"),
        ("small objects", "no more could be allocated"),
        ("numpy", "Unable to allocate 1.00 MiB for an array with shape (131072,) and data type float64"),
        ("arrow", "malloc of size 1048576 failed"),
    ],
)
def test_a_task_that_exceeds_its_cap_fails_with_the_cap_and_can_still_report(
    results: dict[str, str], task: str, reason: str
) -> None:
    assert results[task] == MESSAGE.format(reason)


def test_a_task_below_its_cap_is_not_affected(results: dict[str, str]) -> None:
    assert results["thrifty"] == "40 MiB"


def test_a_second_task_in_the_same_process_keeps_the_lower_limit(results: dict[str, str]) -> None:
    assert results["second"] == "second"


def test_the_stacks_of_threads_do_not_use_up_the_cap(results: dict[str, str]) -> None:
    assert results["threads"] == "started"
