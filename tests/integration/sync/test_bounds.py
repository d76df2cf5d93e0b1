"""Bounds of a download: a login that sends too much is skipped before it costs memory or fills the disk."""

from __future__ import annotations

import resource
import time
import tracemalloc
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.providers.plaid import PLAID, TRANSACTIONS_SYNC
from etl.errors import TransientError
from etl.storage import objects
from etl.storage.objects import VolumeFull
from etl.sync.drain import account as drain
from etl.sync.provider import envelope
from etl.sync.provider.client import AnswerTooLarge
from etl.sync.records.documents import Leaf
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import ScriptedBank
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
SKIPPED = "select provider_account_id, outcome, reason from etl.left_out"
CALM = page(added=[transaction()], next_cursor="c1")
Usage = namedtuple("Usage", "total used free")


def page_of(count: int, record: bytes = b"{}") -> bytes:
    """Return a page of many equal records."""
    return CALM.replace(b'"modified":[]', b'"modified":[' + b",".join([record] * count) + b"]")


@pytest.fixture
def two(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> Pipeline:
    """Return the steps of a sync of the logins `flood` and `calm`."""
    scripted_pipeline.enrol("flood", "calm")
    scripted_bank.script("calm", CALM)
    return scripted_pipeline


def test_a_page_of_too_many_records_skips_its_login_says_how_many_and_is_asked_for_once(
    two: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_bank.script("flood", page_of(2_000))
    (counts,) = two.run("run")
    assert counts.inserted == 1
    assert rows(SKIPPED) == [
        (1, "oversized", "a page of 2001 records where 500 were asked for and at most 2000 are read")
    ]
    assert rows("select outcome from etl.chunks") == [({"oversized": 1, "drained": 1},)]
    assert rows("select provider_account_id from etl.cursors") == [(2,)]
    assert len(scripted_bank.requests["flood"]) == 1
    scripted_bank.script("flood", page_of(1_999, msgspec.json.encode(transaction(transaction_id="t2"))))
    (counts,) = two.run("next")
    assert counts.read == 2_000 + 1


@pytest.mark.parametrize("record", [b"{}", b"0", b"[]", b'{"counterparties":[' + b"{}," * 200 + b"{}]}"])
def test_a_page_of_millions_of_values_is_refused_before_it_is_decoded(record: bytes) -> None:
    body = page_of((30 << 20) // (len(record) + 1), record)
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(AnswerTooLarge, match=r"a page of \d{6,} or more values where 500 records were asked for"):
            envelope.parse_page(TRANSACTIONS_SYNC, (("next_cursor", Leaf(str)), ("has_more", Leaf(bool))), 500, body)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 2


def test_a_page_of_many_values_that_is_decoded_takes_little_memory() -> None:
    body = page_of(190_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AnswerTooLarge, match="a page of 190001 records"):
        envelope.parse_page(TRANSACTIONS_SYNC, (("next_cursor", Leaf(str)), ("has_more", Leaf(bool))), 500, body)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_snapshot_has_a_declared_bound(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows) -> None:
    scripted_pipeline.entity = replace(ACCOUNTS, provider=replace(PLAID, retries=0))
    scripted_pipeline.enrol("flood")
    scripted_bank.script("flood", b'{"accounts": [' + b",".join([b"{}"] * 2_001) + b"]}")
    scripted_pipeline.run("run")
    assert rows("select outcome from etl.left_out") == [("oversized",)]


def test_a_snapshot_of_too_many_bytes_is_skipped(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "MAX_BYTES", 100)
    scripted_pipeline.entity = replace(ACCOUNTS, provider=replace(PLAID, retries=0))
    scripted_pipeline.enrol("flood")
    scripted_bank.script("flood", b'{"accounts": [' + b" " * 100 + b"]}")
    scripted_pipeline.run("run")
    assert rows("select outcome, reason from etl.left_out") == [("oversized", "more than 100 bytes in one attempt")]
    assert list(scripted_pipeline.root.glob("landing/*/*/*/*")) == []


def fill(monkeypatch: pytest.MonkeyPatch, *, free: int) -> None:
    """Let every volume have so many free bytes."""
    monkeypatch.setattr("etl.storage.objects.shutil.disk_usage", lambda _: Usage(1 << 40, 0, free))


@pytest.mark.parametrize("step", ["download", "store_raw", "transform"])
def test_no_step_writes_to_a_volume_that_is_almost_full_and_the_next_attempt_continues(
    two: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    scripted_bank.script("flood", page(added=[transaction(transaction_id="t2")], next_cursor="c1"))
    two.plan("run")
    if step != "download":
        two.download("run")
    raw_id = two.store_raw("run") if step == "transform" else 0
    with monkeypatch.context() as patch:
        fill(patch, free=objects.MIN_FREE_SPACE - 1)
        with pytest.raises(VolumeFull, match=r"/raw: only 1,073,741,823 bytes .* of at least 1,073,741,824; enlarge"):
            two.transform(raw_id) if step == "transform" else getattr(two, step)("run")
    assert issubclass(VolumeFull, TransientError)
    assert not list(two.root.glob("drafts/*"))
    fill(monkeypatch, free=objects.MIN_FREE_SPACE)
    assert two.load(two.fetch("run")).inserted == 2


def test_a_volume_that_fills_up_during_a_download_ends_the_attempt_in_order(
    two: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_bank.script(
        "flood", *(page(next_cursor=f"c{number}", has_more=True) for number in range(3)), page(next_cursor="c9")
    )
    two.plan("run")
    two.entity = replace(two.entity, timeout=timedelta(seconds=30))
    landed = iter([objects.MIN_FREE_SPACE] * 3)
    with monkeypatch.context() as patch:
        patch.setattr("etl.storage.objects.shutil.disk_usage", lambda _: Usage(1 << 40, 0, next(landed, 5)))
        with pytest.raises(VolumeFull):
            two.download("run")
    assert rows("select attempts, page_size, outcome from etl.chunks") == [(1, 500, {})]
    assert rows("select count(*) from etl.interruptions") == [(0,)]
    assert two.load(two.fetch("run")).inserted == 1
