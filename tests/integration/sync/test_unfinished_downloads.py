"""Feeds that one attempt cannot read to their end: the next attempt, or the next run, continues from their pages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from etl.db.connection import Connection
from etl.settings import Endpoint
from etl.sync.drain import account as drain
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.records.frames import Header
from etl.sync.store import cursors, unfinished_downloads
from etl.sync.store.landing import AccountPages, Landing
from etl.sync.store.unfinished_downloads import UnfinishedDownload
from tests.integration.sync.paged_bank import KEPT, Feed, PagedBank, die_at, numbers, once, remove_limits
from tests.integration.sync.pipeline import FIRST, Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OUTCOMES = "select outcome from etl.chunks order by chunk_id"
LOADED = "select count(*), sum(amount)::int from core.transactions where removed_at is null"
MUTATION = refusal("TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
DOWN = Answer(b"", 503)
PAGES = 50
HEADER = Header(
    provider_account_id=1, page=0, path="/", request={}, cursor_from="", cursor_to="x", received_at=FIRST, size=2
)


@pytest.fixture
def scripted_bank() -> Iterator[ScriptedBank]:
    """Return a bank whose feeds have many pages."""
    with PagedBank() as bank:
        yield bank


@pytest.fixture
def bank(scripted_bank: ScriptedBank) -> PagedBank:
    assert isinstance(scripted_bank, PagedBank)
    return scripted_bank


@pytest.fixture
def steps(scripted_pipeline: Pipeline) -> Pipeline:
    """Return the steps of a sync of one login, without rate limits and retries."""
    remove_limits(scripted_pipeline)
    scripted_pipeline.enrol("big")
    return scripted_pipeline


@pytest.fixture
def killed(steps: Pipeline, bank: PagedBank) -> Pipeline:
    """Return the steps after an attempt that was killed at page 45, and kept 40."""
    bank.feeds["big"] = Feed(PAGES)
    steps.plan("run")
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, 45, bank=bank)
        with pytest.raises(MemoryError):
            steps.download("run")
    bank.requests.clear()
    return steps


def test_a_feed_that_takes_longer_than_a_task_is_read_by_several_runs_and_equals_one_read_at_once(
    steps: Pipeline, bank: PagedBank, rows: Rows
) -> None:
    steps.entity = replace(steps.entity, timeout=timedelta(seconds=1.6))
    steps.enrol("small")
    bank.feeds = {"big": Feed(80, delay=0.04), "small": Feed(1)}
    runs = 0
    while not rows("select 1 from etl.cursors where provider_account_id = 1 and value = '80'"):
        steps.run(f"run {runs}")
        runs += 1
        assert runs < 20
    assert runs > 2
    assert rows(OUTCOMES)[0] == ({"unfinished": 1, "drained": 1},)
    requested = [cursor for cursor in bank.cursors("big") if cursor != "80"]
    assert len(requested) < 80 + 2 * runs
    assert rows(LOADED) == [(81, sum(range(1, 81)) + 1)]
    assert rows("select pages from etl.raw_batches order by raw_id desc limit 1") == [(81,)]
    assert rows(KEPT) == []


def test_an_unfinished_login_says_how_many_pages_are_kept(steps: Pipeline, bank: PagedBank, rows: Rows) -> None:
    steps.entity = replace(steps.entity, timeout=timedelta(seconds=1.2))
    bank.feeds["big"] = Feed(500, delay=0.05)
    steps.run("run")
    ((outcome, reason),) = rows("select outcome, reason from etl.left_out")
    ((_, _, kept, cursor_to, _),) = rows(KEPT)
    assert outcome == "unfinished"
    assert reason == (
        f"not drained within the chunk's time limit of 0:00:00.900000; {kept} pages are kept, and the next download "
        "continues from them"
    )
    assert cursor_to == str(kept)
    assert rows(LOADED) == [(0, None)]
    assert rows("select count(*) from etl.cursors") == [(0,)]


def test_the_next_attempt_continues_from_the_pages_of_one_that_ran_out_of_memory(
    killed: Pipeline, bank: PagedBank, rows: Rows
) -> None:
    assert rows(KEPT) == [(1, 1, 40, "40", False)]
    assert killed.load(killed.fetch("run")).inserted == PAGES
    assert bank.cursors("big") == numbers(40, PAGES)
    assert rows(LOADED) == [(PAGES, sum(range(1, PAGES + 1)))]
    assert rows(KEPT) == []


def test_the_next_run_continues_from_the_pages_of_an_attempt_that_died(
    killed: Pipeline, bank: PagedBank, rows: Rows
) -> None:
    (counts,) = killed.run("next")
    assert counts.inserted == PAGES
    assert bank.cursors("big") == numbers(40, PAGES)


def test_pages_survive_a_process_that_is_killed(
    steps: Pipeline, bank: PagedBank, rows: Rows, database: Endpoint
) -> None:
    key = Fernet.generate_key().decode()
    steps.cipher = TokenCipher([key])
    steps.enrol("big")
    bank.feeds["big"] = Feed(PAGES, interrupt=lambda number: time.sleep(60) if number == 45 else None)
    steps.plan("run")
    arguments = {"database": asdict(database), "root": str(steps.root), "key": key, "bank": bank.url}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.sync.download_process", json.dumps(arguments)],
        cwd=Path(__file__).parents[3],
    )
    try:
        deadline = time.monotonic() + 60
        while rows(KEPT) != [(1, 1, 40, "40", False)] and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    bank.requests.clear()
    bank.feeds["big"] = Feed(PAGES)
    assert steps.load(steps.fetch("run")).inserted == PAGES
    assert bank.cursors("big") == numbers(40, PAGES)
    assert rows("select page_size from etl.chunks") == [(250,)]


def test_a_full_read_is_continued_as_a_full_read(steps: Pipeline, bank: PagedBank, rows: Rows) -> None:
    bank.script(
        "big", page(added=[transaction(transaction_id="gone", date="2026-11-20")], next_cursor="0", has_more=False)
    )
    steps.run("first")
    cursors.request_full_read(steps.db, [1], feeds=["transactions_sync"])
    bank.feeds["big"] = Feed(PAGES)
    steps.plan("run")
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, 45, bank=bank)
        with pytest.raises(MemoryError):
            steps.download("run")
    assert rows(KEPT) == [(2, 1, 40, "40", True)]
    bank.requests.clear()
    assert steps.load(steps.fetch("run")).inserted == PAGES
    assert bank.cursors("big") == numbers(40, PAGES)
    assert rows("select removed_for from core.transactions where transaction_id = 'gone'") == [("absent",)]


def test_a_full_read_for_a_lost_cursor_is_continued_as_a_full_read(
    steps: Pipeline, bank: PagedBank, rows: Rows
) -> None:
    bank.feeds["big"] = Feed(3)
    steps.run("first")
    bank.feeds["big"] = Feed(PAGES, interrupt=once(3, refusal("INVALID_REQUEST", "INVALID_FIELD")))
    steps.plan("run")
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, 45, bank=bank)
        with pytest.raises(MemoryError):
            steps.download("run")
    assert rows(KEPT) == [(2, 1, 40, "40", True)]
    bank.requests.clear()
    steps.download("run")
    headers = [header for header, _ in Landing(steps.root, 2, 2).read()]
    assert bank.cursors("big") == numbers(40, PAGES)
    assert {header.whole for header in headers} == {True}
    assert [header.cursor_from for header in headers] == ["3", *numbers(1, PAGES)]
    assert steps.load(steps.transform(steps.store_raw("run"))).inserted == PAGES - 3


def test_pages_from_before_a_mutation_are_never_continued(killed: Pipeline, bank: PagedBank, rows: Rows) -> None:
    bank.feeds["big"] = Feed(PAGES, interrupt=once(42, MUTATION))
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, 5)
        with pytest.raises(MemoryError):
            killed.download("run")
    assert rows(KEPT) == []


def test_a_mutation_discards_the_kept_pages(killed: Pipeline, bank: PagedBank, rows: Rows) -> None:
    bank.feeds["big"] = Feed(PAGES, interrupt=once(42, MUTATION))
    assert killed.load(killed.fetch("run")).inserted == PAGES
    assert bank.cursors("big") == [*numbers(40, 43), *numbers(0, PAGES)]


def corrupt(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"HARBOUR", b"HARBOR!"))


def misplace(path: Path) -> None:
    path.write_bytes(path.with_name("000016").read_bytes())


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, corrupt, misplace, lambda path: path.write_bytes(path.read_bytes()[:-1])],
    ids=["missing", "other content", "another page", "truncated"],
)
def test_a_missing_or_damaged_page_restarts_the_feed(
    killed: Pipeline, bank: PagedBank, damage: Callable[[Path], object]
) -> None:
    damage(Path(killed.root.path, "landing/1/1/1/000017"))
    assert killed.load(killed.fetch("run")).inserted == PAGES
    assert bank.cursors("big") == numbers(0, PAGES)


def test_pages_from_another_generation_of_the_cursor_are_discarded(
    killed: Pipeline, bank: PagedBank, rows: Rows
) -> None:
    rows(
        "insert into etl.cursors (provider_account_id, feed, value, generation) "
        "values (1, 'transactions_sync', '', 1) returning 1"
    )
    assert killed.load(killed.fetch("run")).inserted == PAGES
    assert bank.cursors("big") == numbers(0, PAGES)


def test_pages_from_another_value_of_the_cursor_are_discarded(killed: Pipeline, bank: PagedBank, rows: Rows) -> None:
    rows("insert into etl.cursors (provider_account_id, feed, value) values (1, 'transactions_sync', '7') returning 1")
    assert killed.load(killed.fetch("run")).inserted == PAGES - 7
    assert bank.cursors("big") == numbers(7, PAGES)


def test_a_requested_full_read_discards_pages_of_changes(killed: Pipeline, bank: PagedBank, rows: Rows) -> None:
    rows(
        "insert into etl.cursors (provider_account_id, feed, reread) values (1, 'transactions_sync', true) returning 1"
    )
    assert killed.load(killed.fetch("run")).inserted == PAGES
    assert bank.cursors("big") == numbers(0, PAGES)


def test_pages_are_kept_if_the_provider_fails_in_the_middle(steps: Pipeline, bank: PagedBank, rows: Rows) -> None:
    bank.feeds["big"] = Feed(PAGES, interrupt=once(45, DOWN))
    with pytest.raises(Exception, match="HTTP 503"):
        steps.run("run")
    assert rows("select outcome from etl.left_out") == [("unreachable",)]
    bank.requests.clear()
    steps.run("next")
    assert bank.cursors("big") == numbers(45, PAGES)


def test_an_attempt_that_goes_on_after_it_was_believed_dead_disturbs_nothing(
    killed: Pipeline, bank: PagedBank, rows: Rows, connect: Callable[[], Connection]
) -> None:
    zombie_db = connect()
    saved: list[bool] = []

    def wake_the_zombie(number: int) -> None:
        if number != 45:
            return
        zombie = Landing(killed.root, 1, 1).account_pages(1)
        for page_number in range(48):
            zombie.add(HEADER, b"{}")
            own = UnfinishedDownload(1, 1, 1, 0, page_number, 2, zombie.digest, "x", is_full_read=False)
            saved.append(unfinished_downloads.save(zombie_db, own, feed="transactions_sync"))
        unfinished_downloads.discard(zombie_db, [1], feed="transactions_sync", chunk_id=1, attempt=1)

    bank.feeds["big"] = Feed(PAGES, interrupt=wake_the_zombie)
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, 48)
        with pytest.raises(MemoryError):
            killed.download("run")
    assert saved == [False] * 48
    assert rows(KEPT) == [(1, 2, 40, "40", False)]
    bank.requests.clear()
    assert killed.load(killed.fetch("run")).inserted == PAGES
    assert bank.cursors("big") == numbers(40, PAGES)
    assert rows(LOADED) == [(PAGES, sum(range(1, PAGES + 1)))]


def test_kept_pages_survive_the_sealing_of_their_chunk(steps: Pipeline, bank: PagedBank, rows: Rows) -> None:
    steps.entity = replace(steps.entity, timeout=timedelta(seconds=1.2))
    steps.enrol("small")
    bank.feeds = {"big": Feed(500, delay=0.05), "small": Feed(1)}
    steps.run("run")
    folder = Path(steps.root.path, "landing/1/1")
    ((_, _, kept, _, _),) = rows(KEPT)
    assert sorted(path.name for path in folder.iterdir()) == ["1"]
    assert int(str(kept)) <= len(list((folder / "1").iterdir()))
    bank.feeds["big"] = Feed(500)
    bank.requests.clear()
    steps.entity = replace(steps.entity, timeout=timedelta(hours=1))
    steps.run("next")
    assert bank.cursors("big") == numbers(int(str(kept)), 500)
    assert not Path(steps.root.path, "landing/2/1").exists()


def test_a_login_may_land_only_so_many_bytes_in_an_attempt_and_is_continued_by_the_next(
    steps: Pipeline, bank: PagedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(page(added=[transaction(transaction_id="big-1", amount=1)], next_cursor="1", has_more=True))
    monkeypatch.setattr(drain, "MAX_BYTES", 12 * (size + 3))
    bank.feeds["big"] = Feed(30)
    for run in ("one", "two"):
        steps.run(run)
    reason = "more than {} bytes in one attempt; {} pages are kept, and the next download continues from them"
    assert rows("select outcome, reason from etl.left_out order by chunk_id") == [
        ("unfinished", reason.format(12 * (size + 3), kept)) for kept in (12, 24)
    ]
    steps.run("three")
    assert rows(LOADED) == [(30, sum(range(1, 31)))]
    assert rows(OUTCOMES) == [({"unfinished": 1},), ({"unfinished": 1},), ({"drained": 1},)]


def test_pages_are_kept_only_once_the_thread_that_writes_the_last_one_has_ended(
    steps: Pipeline, bank: PagedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, save, events = AccountPages.add, unfinished_downloads.save, []

    def add_slowly(pages: AccountPages, *arguments: object) -> None:
        number = pages.pages
        events.append(f"writes {number}")
        if number == 3:
            time.sleep(2)
        add(pages, *arguments)  # type: ignore[arg-type]
        events.append(f"has written {number}")

    def save_noted(db: Connection, download: UnfinishedDownload, *, feed: str) -> bool:
        events.append(f"keeps {download.pages}")
        return save(db, download, feed=feed)

    monkeypatch.setattr(AccountPages, "add", add_slowly)
    monkeypatch.setattr(unfinished_downloads, "save", save_noted)
    steps.entity = replace(steps.entity, timeout=timedelta(seconds=2))
    bank.feeds["big"] = Feed(500)
    steps.plan("run")
    steps.download("run")
    assert events[-3:] == ["writes 3", "has written 3", "keeps 4"]
    assert len(list(Path(steps.root.path, "landing/1/1/1").iterdir())) == 4
    assert [(pages, cursor_to) for _, _, pages, cursor_to, _ in rows(KEPT)] == [(4, "4")]
