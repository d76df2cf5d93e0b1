"""Download of one provider account: its feed, snapshot or window, read to its end into landing pages.

The pages of a feed that cannot be read to its end in one attempt are kept, and the next attempt continues from them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta

from etl.chunking import DayRange
from etl.db.connection import Connection
from etl.declare.api.paging import OnePage
from etl.declare.entity import Entity
from etl.declare.provider import ErrorAction
from etl.declare.source import Feed, Recent, Snapshot, Source, Window
from etl.errors import ProviderRefused, TokenUnreadable
from etl.sync.drain.outcome import AccountOutcome, DownloadResult, outcome_of
from etl.sync.logins.store.provider_accounts import ProviderAccount
from etl.sync.provider.client import (
    MAX_WAIT_IN_TASK,
    AnswerTooLarge,
    LargeAnswer,
    ProviderCallFailed,
    ProviderClient,
    QuotaExhausted,
)
from etl.sync.provider.pages import AccountReader, FeedEndless, FeedPosition, is_continuable, prefetch
from etl.sync.provider.uninterrupted import uninterrupted
from etl.sync.records.frames import Header
from etl.sync.store import unfinished_downloads
from etl.sync.store.landing import AccountPages, DrainedAccount, Landing, UnusablePages
from etl.sync.store.unfinished_downloads import UnfinishedDownload

MAX_RESTARTS = 5
"""Restarts of an account's feed from its first cursor in one download; after these it is read from its beginning."""

MAX_BYTES = 1 << 30
"""Bytes of one account in one attempt, so that one login cannot fill the volume: about 600,000 transactions, which
usual rate limits allow in most of an hour. A feed with more is continued by the next download."""

MAX_SIZE_TOGETHER = 4 << 20
"""Bytes of a page of an account that is read together with others, some four times those of a full page. Each holds a
few copies of two pages at a time, which bounds the memory of all together. An account with larger pages is read alone.
"""

SAVE_EVERY = 20
"""Pages after which those of a feed are kept for the next attempt, should this one die. A feed of fewer pages is read
again in a moment."""

log = logging.getLogger(__name__)


class TooManyBytes(Exception):
    """An account has sent as much as one attempt may land of it."""

    def __init__(self) -> None:
        super().__init__(f"more than {MAX_BYTES} bytes in one attempt")


@dataclass
class AccountDownload:
    """Drains one account.

    Parameters
    ----------
    client
        Sends the requests.
    account, source
        What is read.
    landing
        The landing of the attempt.
    page_size
        Records to request per page.
    days
        The days of a window; None for other sources.
    decrypt
        Returns the account's access token.
    db
        The warehouse, for pages that are kept.
    earlier
        Pages of its feed that an earlier attempt kept.
    is_resumable
        Whether the next download may continue from the pages of this one.
    is_alone
        Whether no other account is read meanwhile, so that its pages may be large.
    """

    client: ProviderClient
    account: ProviderAccount
    source: Feed | Snapshot | Window
    landing: Landing
    page_size: int
    days: DayRange | None
    decrypt: Callable[[ProviderAccount], str]
    db: Connection
    earlier: UnfinishedDownload | None
    is_resumable: bool
    is_alone: bool = False
    _pages: AccountPages = field(init=False)
    _seen_cursors: frozenset[str] = field(default_factory=frozenset, init=False)
    _adopted_pages: int = field(default=0, init=False)
    _adopted_size: int = field(default=0, init=False)
    _saved_pages: int = field(default=0, init=False)
    _is_full_read_requested: bool = field(init=False)
    _requested_days: DayRange | None = field(init=False)

    def __post_init__(self) -> None:
        self._is_full_read_requested, self._requested_days = self.account.needs_full_read, self.days
        self._pages = self.landing.account_pages(self.account.provider_account_id)

    async def run(self, *, end: float, out_of_time: str) -> DownloadResult:
        """Drain the account; a second call continues a feed, and begins anew with any other source.

        Parameters
        ----------
        end
            When the time of the attempt is up, by the clock of the event loop.
        out_of_time
            Reason to give if it is not drained by then.

        Raises
        ------
        VolumeFull
            If the volume has almost no free space.
        """
        if not self.is_resumable:
            self._start_over()
        try:
            async with asyncio.timeout_at(end):
                if self.earlier is not None and asyncio.get_running_loop().time() < end:
                    await self._adopt(self.earlier)
                return await self._drain()
        except TimeoutError:
            return self._unfinished(out_of_time, otherwise=AccountOutcome.UNREACHABLE)
        except TooManyBytes as error:
            return self._unfinished(str(error), otherwise=AccountOutcome.OVERSIZED)

    async def _drain(self) -> DownloadResult:
        restarts_left = MAX_RESTARTS
        while True:
            try:
                drained = await self._land_pages()
                return DownloadResult(AccountOutcome.DRAINED, drained_account=drained, gaps=tuple(self._pages.gaps))
            except TokenUnreadable as error:
                return DownloadResult(AccountOutcome.UNREADABLE, reason=str(error))
            except LargeAnswer as error:
                return DownloadResult(AccountOutcome.OVERSIZED, reason=error.code, must_be_alone=True)
            except QuotaExhausted as error:
                return self._starved(error)
            except (ProviderRefused, ProviderCallFailed) as error:
                failure = error
            if isinstance(failure, ProviderRefused) or not self._must_restart(failure, restarts_left):
                if await self._begins_anew(failure):
                    continue
                return self._failed(failure)
            if self._must_read_in_full(failure, restarts_left):
                self.account = replace(self.account, needs_full_read=True)
                restarts_left = MAX_RESTARTS
            else:
                restarts_left -= 1
            self._discard_pages()

    def _must_restart(self, failure: ProviderCallFailed, restarts_left: int) -> bool:
        if failure.action not in (ErrorAction.RESTART_FEED, ErrorAction.REREAD_FEED):
            return False
        return restarts_left > 0 or self._must_read_in_full(failure, restarts_left)

    def _must_read_in_full(self, failure: ProviderCallFailed, restarts_left: int) -> bool:
        """Return whether the feed is read from its beginning, because its cursor cannot be continued from."""
        is_possible = isinstance(self.source, Feed) and self.account.cursor and not self.account.needs_full_read
        # The cursor that is lost may be that of kept pages; then the stored one is tried first.
        is_lost = failure.action is ErrorAction.REREAD_FEED and not self._adopted_pages
        return bool(is_possible) and (is_lost or not restarts_left)

    async def _begins_anew(self, failure: ProviderRefused | ProviderCallFailed) -> bool:
        """Keep the pages that were read before a failure, or discard them if they cannot be continued.

        Returns
        -------
        bool
            Whether pages of an earlier attempt were discarded, so that the source is read again from its beginning, a
            feed from its stored cursor.
        """
        if not isinstance(failure, FeedEndless):
            if self._pages.pages > self._adopted_pages:
                if self._saved_pages:
                    self._save_pages()
                return False
            if not self._adopted_pages or _long_wait(failure) or not await self._is_answered_from_the_start():
                return False
        was_continued = self._adopted_pages > 0
        log.warning("account %d: %s; its pages are discarded", self.account.provider_account_id, failure)
        self._discard_pages()
        self.account = replace(self.account, needs_full_read=self._is_full_read_requested)
        return was_continued

    async def _is_answered_from_the_start(self) -> bool:
        """Return whether the provider sends the first page: then only the kept pages are at fault."""
        reader = self._reader()
        if isinstance(self.source, Feed):
            first_cursor = "" if self._is_full_read_requested else self.account.cursor
            pages = reader.read_feed(self.source, FeedPosition(first_cursor))
        else:
            pages = reader.read_list(self.source, days=self.days)
        try:
            await anext(pages)
        except ProviderCallFailed as error:
            return error.action in (ErrorAction.RESTART_FEED, ErrorAction.REREAD_FEED)
        except ProviderRefused:
            return False
        return True

    def _starved(self, failure: ProviderCallFailed) -> DownloadResult:
        """Keep what was read of an account that has no call left; it is late until it can be read to its end."""
        reason = f"{failure.code} for {failure.retry_after}" if failure.retry_after else failure.code
        if self.is_resumable and self._pages.pages and self._save_pages():
            reason += f"; {self._pages.pages} pages are kept, and the next download continues from them"
        return DownloadResult(AccountOutcome.STARVED, reason=reason)

    def _failed(self, failure: ProviderRefused | ProviderCallFailed) -> DownloadResult:
        if isinstance(failure, ProviderRefused):
            return DownloadResult(AccountOutcome.REFUSED, reason=failure.detail)
        if isinstance(failure, AnswerTooLarge):
            return DownloadResult(AccountOutcome.OVERSIZED, reason=failure.code)
        wait = _long_wait(failure)
        if failure.action is ErrorAction.NO_CALLS_LEFT or (wait and self.source.quota is not None):
            return self._starved(failure)
        return DownloadResult(outcome_of(failure.action, self.account), reason=failure.code, wait=wait)

    async def _land_pages(self) -> DrainedAccount:
        """Land the account's pages, after those that are kept of an earlier attempt."""
        async with aclosing(prefetch(self._read_pages())) as pages:
            async for header, body in pages:
                if self._pages.size - self._adopted_size + len(body) > MAX_BYTES:
                    raise TooManyBytes
                await uninterrupted(asyncio.to_thread(self._pages.add, header, body))
                if self.is_resumable and self._pages.pages - self._saved_pages >= SAVE_EVERY:
                    self._save_pages()
        return self._pages.finish()

    def _reader(self) -> AccountReader:
        return AccountReader(
            self.client,
            self.account.provider_account_id,
            self.decrypt(self.account),
            self.page_size,
            self.account.generation if isinstance(self.source, Feed) else None,
            None if self.is_alone else MAX_SIZE_TOGETHER,
            self.account.item_id,
        )

    def _read_pages(self) -> AsyncIterator[tuple[Header, bytes]]:
        reader = self._reader()
        if isinstance(self.source, Feed):
            first_cursor = "" if self.account.needs_full_read else self.account.cursor
            position = FeedPosition(
                self._pages.cursor_to if self._pages.pages else first_cursor, self._pages.pages, self._seen_cursors
            )
            if self.account.needs_full_read:
                return reader.read_full_feed(self.source, position, stored_cursor=self.account.cursor)
            return reader.read_feed(self.source, position)
        if isinstance(self.source, Recent):
            return reader.read_list(self.source, days=self.days, state=self._pages.cursor_to, pages=self._pages.pages)
        return reader.read_list(self.source, days=self.days)

    async def _adopt(self, earlier: UnfinishedDownload) -> None:
        """Take over the pages of an earlier attempt, if they still begin at the account's cursor; else discard them."""
        try:
            self._pages, self._seen_cursors = await uninterrupted(asyncio.to_thread(self._read_kept_pages, earlier))
        except UnusablePages as error:
            log.warning("account %d: kept pages are discarded: %s", earlier.provider_account_id, error)
            self._forget(earlier.chunk_id, earlier.attempt)
        else:
            self.account = replace(self.account, needs_full_read=earlier.is_full_read)
            if earlier.first_on and earlier.last_on:
                self.days = DayRange(earlier.first_on, earlier.last_on)
            self._adopted_pages, self._adopted_size = self._pages.pages, self._pages.size
            self._save_pages()
        self.earlier = None

    def _read_kept_pages(self, earlier: UnfinishedDownload) -> tuple[AccountPages, frozenset[str]]:
        """Return the pages of an earlier attempt, now in the folder of this one, and the cursors that led to them."""
        if earlier.generation != self.account.generation or (self.account.needs_full_read and not earlier.is_full_read):
            raise UnusablePages("their cursor has moved, or a full read was requested")
        if isinstance(self.source, Recent) and earlier.first_on and earlier.last_on:
            days = DayRange(earlier.first_on, earlier.last_on)
            if not is_continuable(self.source, days, earlier.cursor_to, page_size=self.page_size):
                raise UnusablePages("their days are requested in other parts now, or in pages of another size")
        pages = self.landing.account_pages(self.account.provider_account_id)
        seen_cursors = pages.adopt(
            Landing(self.landing.root, earlier.chunk_id, earlier.attempt),
            earlier.pages,
            cursor_from=self.account.cursor,
            is_full_read=earlier.is_full_read,
        )
        found = (pages.size, pages.digest, pages.cursor_to)
        if found != (earlier.bytes, earlier.digest, earlier.cursor_to):
            raise UnusablePages("they differ from what was kept")
        return pages, seen_cursors

    def _save_pages(self) -> bool:
        """Keep the pages for the next attempt; return False if a later attempt has already taken them over."""
        self._saved_pages = self._pages.pages
        return unfinished_downloads.save(
            self.db,
            UnfinishedDownload(
                self.account.provider_account_id,
                self.landing.chunk_id,
                self.landing.attempt,
                self.account.generation,
                pages=self._pages.pages,
                bytes=self._pages.size,
                digest=self._pages.digest,
                cursor_to=self._pages.cursor_to,
                is_full_read=self.account.needs_full_read,
                first_on=self.days.first if self.days else None,
                last_on=self.days.last if self.days else None,
            ),
            feed=self.source.name,
        )

    def _unfinished(self, reason: str, *, otherwise: AccountOutcome) -> DownloadResult:
        """Keep the pages of a feed for the next download; other sources, and a feed without pages, are skipped."""
        pages = self.earlier.pages if self.earlier else self._pages.pages
        if self.is_resumable and pages and (self.earlier or self._save_pages()):
            reason = f"{reason}; {pages} pages are kept, and the next download continues from them"
            return DownloadResult(AccountOutcome.UNFINISHED, reason=reason)
        return DownloadResult(otherwise, reason=reason)

    def _discard_pages(self) -> None:
        if self._saved_pages:
            self._forget(self.landing.chunk_id, self.landing.attempt)
        self._start_over()

    def _forget(self, chunk_id: int, attempt: int) -> None:
        accounts = [self.account.provider_account_id]
        unfinished_downloads.discard(self.db, accounts, feed=self.source.name, chunk_id=chunk_id, attempt=attempt)

    def _start_over(self) -> None:
        self.days = self._requested_days
        self._pages = self.landing.account_pages(self.account.provider_account_id)
        self._seen_cursors = frozenset()
        self._adopted_pages = self._adopted_size = self._saved_pages = 0


def may_continue(entity: Entity, source: Source) -> bool:
    """Return whether a download may continue from the pages of an earlier one.

    A list may have changed in between. If its records have no ids, one that moved to the next page would be a twin.
    """
    if isinstance(source, Recent) and not isinstance(source.paging, OnePage):
        return all(column.identity is None for column in entity.columns)
    return isinstance(source, Feed | Recent)


def _long_wait(failure: ProviderRefused | ProviderCallFailed) -> timedelta | None:
    """Return how long the provider asks to wait before a retry, if that is too long to sleep; else None."""
    if isinstance(failure, ProviderRefused) or failure.action is not ErrorAction.RETRY:
        return None
    wait = failure.retry_after
    return wait if wait and wait > MAX_WAIT_IN_TASK else None
