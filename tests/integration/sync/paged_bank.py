"""A bank whose feeds have many pages: the cursor of a page is its number, so that a feed can be continued anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from etl.declare.source import Feed as DeclaredFeed
from etl.sync.records.frames import Header
from etl.sync.store.landing import AccountPages
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank
from tests.unit.sync.samples import page, transaction

KEPT = "select chunk_id, attempt, pages, cursor_to, is_full_read from etl.unfinished_downloads"


@dataclass
class Feed:
    """A feed of one record per page.

    Parameters
    ----------
    pages
        Number of its pages.
    delay
        Seconds before each answer.
    interrupt
        Called with the number of each requested page; an answer that it returns is sent instead of the page.
    """

    pages: int
    delay: float = 0.0
    interrupt: Callable[[int], Answer | None] = lambda _: None


class PagedBank(ScriptedBank):
    """A server on a loopback port; tokens without a feed are answered from their script."""

    def __init__(self) -> None:
        super().__init__()
        self.feeds: dict[str, Feed] = {}

    def cursors(self, token: str) -> list[object]:
        """Return the cursors that were requested; None for the beginning."""
        return [request.get("cursor") for request in self.requests[token]]

    def answer(self, request: dict[str, object]) -> Answer:
        """Return the page that the cursor leads to, and record the request."""
        token = str(request["access_token"])
        if token not in self.feeds:
            return super().answer(request)
        self.requests[token].append(request)
        feed, number = self.feeds[token], int(str(request.get("cursor", "0")))
        time.sleep(feed.delay)
        if number >= feed.pages:
            return Answer(page(next_cursor=str(number)))
        record = transaction(transaction_id=f"{token}-{number}", amount=number + 1)
        return feed.interrupt(number) or Answer(
            page(added=[record], next_cursor=str(number + 1), has_more=number + 1 < feed.pages)
        )


def once(at: int, answer: Answer) -> Callable[[int], Answer | None]:
    """Return an interruption that answers the first request of a page."""
    left = [at]
    return lambda number: answer if left and number == left[0] and left.pop() == number else None


def numbers(first: int, last: int) -> list[object]:
    """Return the cursors of the pages between two numbers; that of the first page is not sent."""
    return [str(number) if number else None for number in range(first, last)]


def die_at(monkeypatch: pytest.MonkeyPatch, number: int, *, bank: PagedBank | None = None) -> None:
    """Let a process run out of memory at a page, which leaves the attempt open as a kill would.

    With a bank, it dies once its request for the next page of `big` has arrived there, so that none comes late.
    """
    add = AccountPages.add

    def add_until(pages: AccountPages, header: Header, body: bytes) -> None:
        if pages.pages == number:
            deadline = time.monotonic() + 60
            while bank and header.cursor_to not in bank.cursors("big") and time.monotonic() < deadline:
                time.sleep(0.01)
            raise MemoryError
        add(pages, header, body)

    monkeypatch.setattr(AccountPages, "add", add_until)


def remove_limits(pipeline: Pipeline) -> None:
    """Let a pipeline call the bank without rate limits and retries."""
    entity = pipeline.entity
    assert isinstance(entity.source, DeclaredFeed)
    pipeline.entity = replace(
        entity, source=replace(entity.source, limits=()), provider=replace(entity.provider, retries=0)
    )
