"""Ctrl-C and closed pipes while a command uses the warehouse."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping

import pytest

from etl.db.connection import Connection
from tests.integration.cli.conftest import INSTALLED, Command
from tests.integration.notify.notice_harness import NoticeHarness
from tests.integration.sync.pipeline import Pipeline
from tests.unit.sync.samples import page, transaction

REJECTS = 2_000
"""Whose list is longer than what a pipe holds, which is 64 KiB."""


@pytest.fixture
def run_id(post: NoticeHarness) -> int:
    """Return a run that was planned and not sent."""
    post.enrol(3)
    return post.plan().run_id


@pytest.fixture
def rejects(pipeline: Pipeline) -> None:
    """Load records that are all rejected."""
    (account,) = pipeline.enrol("one")
    records = [transaction(transaction_id=str(number), iso_currency_code="???") for number in range(REJECTS)]
    pipeline.db.execute(
        "insert into etl.rejects (raw_id, entity, version, provider_account_id, line, path, rule, reason) "
        "select %s, 'transactions', %s, %s, 0, 'added[' || n || ']', 'iso4217', 'found ???' "
        "from generate_series(1, %s) as n",
        (pipeline.seal_pages((account, page(added=records[:1]))), pipeline.entity.version, account, REJECTS),
    )


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_a_list_that_is_cut_by_head_ends_without_a_traceback(
    environment: Mapping[str, str], rejects: None, options: tuple[str, ...]
) -> None:
    command = " ".join([INSTALLED, "rejects", "list", f"--limit={REJECTS}", *options])
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -c 10"],
        # An unbuffered write that the pipe took in part is no error for Python.
        env={**environment, "PYTHONUNBUFFERED": ""},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, len(result.stdout), result.stderr) == (1, 10, b"")


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_ctrl_c_ends_a_followed_run_without_a_traceback(
    environment: Mapping[str, str], run_id: int, options: tuple[str, ...]
) -> None:
    with subprocess.Popen(
        [INSTALLED, "notify", "status", str(run_id), "--follow", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert json.loads(line)["run_id"] == run_id if options else f"run {run_id}: running" in line


def test_ctrl_c_ends_a_command_that_waits_for_the_warehouse_without_a_traceback(
    environment: Mapping[str, str], db: Connection, connect: Callable[[], Connection]
) -> None:
    waiting = "select count(*) from pg_stat_activity where application_name = 'sluice' and wait_event_type = 'Lock'"
    with db.transaction():
        db.execute("lock table core.accounts in access exclusive mode")
        with subprocess.Popen(
            [INSTALLED, "status"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            deadline = time.monotonic() + 30
            while connect().execute(waiting).fetchall() == [(0,)]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "")


def test_a_replay_prints_nothing_but_its_document_to_the_output(sluice: Command, pipeline: Pipeline) -> None:
    (account,) = pipeline.enrol("one")
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction()]))))
    result = sluice("replay", "transactions", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["entities"][0]["totals"]["unchanged"] == 1
