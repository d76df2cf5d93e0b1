"""A bank whose feeds have many pages: the cursor of a page is its number, so that a feed can be continued anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.integration.sync.scripted_bank import Answer, ScriptedBank
from tests.unit.sync.samples import page, transaction


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
