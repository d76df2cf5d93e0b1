"""Kept pages that cannot be continued: they are discarded, and never hold up a login."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from etl.sync.provider import pages as provider_pages
from etl.sync.store import cursors
from tests.integration.sync.paged_bank import KEPT, Feed, PagedBank, die_at, numbers, once, remove_limits
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
PAGES = 50
DOWN = Answer(b"", 503)
REFUSED = refusal("INVALID_REQUEST", "UNHEARD_OF")
LOST = refusal("INVALID_REQUEST", "INVALID_FIELD")
AGE = "select extract(epoch from now() - saved_at)::int / 3600 from etl.unfinished_downloads"


@pytest.fixture
def scripted_bank() -> Iterator[PagedBank]:
    """Return a bank whose feeds have many pages."""
    with PagedBank() as bank:
        yield bank


def download_until_killed(steps: Pipeline, bank: PagedBank, *, pages: int = PAGES) -> None:
    """Download a run whose process dies at page 45, and keeps 40."""
    bank.feeds["big"] = Feed(pages)
    steps.plan("run")
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, 45, bank=bank)
        with pytest.raises(MemoryError):
            steps.download("run")
    bank.requests.clear()


@pytest.fixture
def killed(scripted_pipeline: Pipeline, scripted_bank: PagedBank) -> Pipeline:
    """Return the steps of a sync of one login after an attempt that kept 40 pages."""
    remove_limits(scripted_pipeline)
    scripted_pipeline.enrol("big")
    download_until_killed(scripted_pipeline, scripted_bank)
    return scripted_pipeline


def until_anew(at: int, answer: Answer) -> Callable[[int], Answer | None]:
    """Return an interruption that answers every request of a page, until the first page is requested."""
    requested = set()

    def interrupt(number: int) -> Answer | None:
        requested.add(number)
        return answer if number == at and 0 not in requested else None

    return interrupt


@pytest.mark.parametrize(
    "answer",
    [
        REFUSED,
        DOWN,
        Answer(b"{}"),
        Answer(page(added=[transaction()], next_cursor="")),
        Answer(page(added=[transaction()] * 2_001, next_cursor="x")),
        refusal("ITEM_ERROR", "PRODUCT_NOT_READY"),
    ],
    ids=["refused", "out of order", "no page", "an empty cursor", "oversized", "not ready"],
)
def test_pages_whose_continuation_fails_are_discarded_if_the_feed_can_be_read_anew(
    killed: Pipeline, scripted_bank: PagedBank, rows: Rows, answer: Answer
) -> None:
    scripted_bank.feeds["big"] = Feed(PAGES, interrupt=until_anew(40, answer))
    assert killed.load(killed.fetch("run")).inserted == PAGES
    assert scripted_bank.cursors("big") == ["40", None, *numbers(0, PAGES)]
    assert rows(KEPT) == []


@pytest.mark.parametrize("answer", [REFUSED, DOWN], ids=["refused", "out of order"])
def test_pages_are_kept_while_the_provider_does_not_answer_from_the_start_either(
    killed: Pipeline, scripted_bank: PagedBank, rows: Rows, answer: Answer
) -> None:
    scripted_bank.feeds["big"] = Feed(PAGES, interrupt=lambda _: answer)
    for _ in range(2):
        with pytest.raises(Exception, match="HTTP"):
            killed.download("run")
    assert rows(KEPT) == [(1, 3, 40, "40", False)]
    scripted_bank.feeds["big"] = Feed(PAGES)
    scripted_bank.requests.clear()
    assert killed.load(killed.fetch("run")).inserted == PAGES
    assert scripted_bank.cursors("big") == numbers(40, PAGES)


def test_a_continuation_that_fails_after_new_pages_keeps_these_and_is_discarded_by_the_next_attempt(
    killed: Pipeline, scripted_bank: PagedBank, rows: Rows
) -> None:
    scripted_bank.feeds["big"] = Feed(PAGES, interrupt=until_anew(43, REFUSED))
    with pytest.raises(Exception, match="UNHEARD_OF"):
        killed.download("run")
    assert rows(KEPT) == [(1, 2, 43, "43", False)]
    scripted_bank.requests.clear()
    assert killed.load(killed.fetch("run")).inserted == PAGES
    assert scripted_bank.cursors("big") == ["43", None, *numbers(0, PAGES)]


def test_a_continuation_whose_cursor_is_lost_is_read_from_the_stored_cursor_and_not_in_full(
    scripted_pipeline: Pipeline, scripted_bank: PagedBank
) -> None:
    remove_limits(scripted_pipeline)
    scripted_pipeline.enrol("big")
    scripted_bank.feeds["big"] = Feed(3)
    scripted_pipeline.run("first")
    download_until_killed(scripted_pipeline, scripted_bank)
    scripted_bank.feeds["big"] = Feed(PAGES, interrupt=once(43, LOST))
    assert scripted_pipeline.load(scripted_pipeline.fetch("run")).inserted == PAGES - 3
    assert scripted_bank.cursors("big") == ["43", *numbers(3, PAGES)]


def test_pages_grow_old_unless_new_ones_are_added(killed: Pipeline, scripted_bank: PagedBank, rows: Rows) -> None:
    rows("update etl.unfinished_downloads set saved_at = now() - interval '10 h' returning 1")
    scripted_bank.feeds["big"] = Feed(PAGES, interrupt=lambda _: DOWN)
    with pytest.raises(Exception, match="HTTP 503"):
        killed.download("run")
    assert rows(AGE) == [(10,)]
    scripted_bank.feeds["big"] = Feed(PAGES, interrupt=once(41, DOWN))
    with pytest.raises(Exception, match="HTTP 503"):
        killed.download("run")
    assert rows(AGE) == [(0,)]
    assert rows(KEPT) == [(1, 3, 41, "41", False)]


def test_a_continued_feed_whose_cursors_repeat_is_read_anew(
    killed: Pipeline, scripted_bank: PagedBank, rows: Rows
) -> None:
    back = Answer(page(added=[transaction()], next_cursor="7", has_more=True))
    scripted_bank.feeds["big"] = Feed(PAGES, interrupt=until_anew(42, back))
    assert killed.load(killed.fetch("run")).inserted == PAGES
    assert scripted_bank.cursors("big") == [*numbers(40, 43), *numbers(0, PAGES)]


def test_a_feed_that_does_not_end_leaves_no_pages(killed: Pipeline, scripted_bank: PagedBank, rows: Rows) -> None:
    back = Answer(page(added=[transaction()], next_cursor="7", has_more=True))
    scripted_bank.feeds["big"] = Feed(PAGES, interrupt=lambda number: back if number == 42 else None)
    with pytest.raises(Exception, match="a feed that does not end, after 43 pages"):
        killed.download("run")
    assert scripted_bank.cursors("big") == [*numbers(40, 43), *numbers(0, 43)]
    assert rows(KEPT) == []


def test_the_pages_of_all_attempts_count_against_the_limit_of_pages(
    killed: Pipeline, scripted_bank: PagedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_pages, "MAX_PAGES", 48)
    with pytest.raises(Exception, match="a feed that does not end, after 48 pages"):
        killed.download("run")
    assert scripted_bank.cursors("big") == [*numbers(40, 48), *numbers(0, 48)]
    assert rows(KEPT) == []


def test_a_continued_full_read_passes_the_stored_cursor(scripted_pipeline: Pipeline, scripted_bank: PagedBank) -> None:
    remove_limits(scripted_pipeline)
    scripted_pipeline.enrol("big")
    scripted_bank.feeds["big"] = Feed(47)
    scripted_pipeline.run("first")
    cursors.request_full_read(scripted_pipeline.db, [1], feeds=["transactions_sync"])
    download_until_killed(scripted_pipeline, scripted_bank, pages=60)
    assert scripted_pipeline.load(scripted_pipeline.fetch("run")).inserted == 60 - 47
    assert scripted_bank.cursors("big") == numbers(40, 60)
