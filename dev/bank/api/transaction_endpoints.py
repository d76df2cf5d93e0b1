"""What transactions answer: as a feed, and as a list."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from dev.bank.api import auth, render, requests, schemas
from dev.bank.api import schemas as responses
from dev.bank.api.endpoints import Endpoint
from dev.bank.api.errors import InvalidField, MutationDuringPagination, ProductNotReady
from dev.bank.api.requests import ReadingOptions
from dev.bank.bank import Bank
from dev.bank.faults import Fault
from dev.bank.feed import cursors, feed, listing
from dev.bank.feed.cursors import CursorForeign, Stream
from dev.bank.feed.feed import Page, Position, Update
from dev.bank.world.accounts import Account
from dev.bank.world.ledger import Change, Ledger

NOW = "now"
"""The cursor that stands for the end of the feed as it is today."""

_UPDATED = "HISTORICAL_UPDATE_COMPLETE"
_NOT_READY = "NOT_READY"


def sync_transactions(bank: Bank, request: requests.TransactionsSync, request_id: str) -> responses.TransactionsSynced:
    """Give the next page of an item's feed."""
    ledger = auth.opened(bank, request)
    item = ledger.item
    asked = request.options.account_id
    account = auth.account(item, asked) if asked else None
    stream = Stream(item, account)
    sent = request.cursor or ""
    page = _page(bank, ledger, stream, request)
    # Nothing told, nothing moved: the cursor goes back as it came, which is empty before the first event.
    told = page.updates or sent == NOW
    after = cursors.seal(bank.key, stream, page.after) if told else sent
    updates = list(_echoed(bank, page))
    return responses.TransactionsSynced(
        accounts=render.accounts(_named(ledger, account, updates), page.moved),
        added=_written(ledger, updates, Change.ADDED, request.options),
        modified=_written(ledger, updates, Change.MODIFIED, request.options),
        removed=[render.removed(each.event) for each in updates if each.change is Change.REMOVED],
        next_cursor=after,
        has_more=page.has_more,
        request_id=request_id,
        transactions_update_status=_UPDATED if after else _NOT_READY,
    )


def get_transactions(bank: Bank, request: requests.TransactionsGet, request_id: str) -> responses.TransactionsGot:
    """List an item's transactions of some dates, newest first."""
    ledger, options = auth.opened(bank, request), request.options
    if request.start_date > request.end_date:
        message = f"start_date {request.start_date} is after end_date {request.end_date}"
        raise InvalidField(message)
    if bank.faults.not_ready(bank.key, ledger.item.number):
        raise ProductNotReady
    item, wanted = ledger.item, options.account_ids
    held = item.accounts if wanted is UNSET else [auth.account(item, each) for each in wanted]
    ordinals = {account.ordinal for account in held}
    events = listing.standing(
        ledger, first=request.start_date, last=request.end_date, today=bank.today, accounts=ordinals
    )
    shown = [Update(Change.ADDED, each) for each in events[options.offset : options.offset + options.count]]
    moved = feed.end(ledger, feed.beginning(ledger), today=bank.today).moved
    return responses.TransactionsGot(
        accounts=render.accounts(held, moved),
        transactions=_written(ledger, shown, Change.ADDED, options),
        total_transactions=len(events),
        item=render.item(item),
        request_id=request_id,
    )


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("/transactions/sync", requests.TransactionsSync, sync_transactions),
    Endpoint("/transactions/get", requests.TransactionsGet, get_transactions),
)


def _page(bank: Bank, ledger: Ledger, stream: Stream, request: requests.TransactionsSync) -> Page:
    sent = request.cursor or ""
    position = feed.beginning(ledger)
    if sent == NOW:
        end = feed.end(ledger, position, today=bank.today)
        return Page((), end, end.moved)
    if sent:
        position = _position(bank, stream, sent)
    elif bank.faults.not_ready(bank.key, ledger.item.number):
        return Page((), position, feed.end(ledger, position, today=bank.today).moved)
    if position.midway and bank.faults.mutates(bank.key, ledger.item.number, position.since, sent):
        raise MutationDuringPagination
    return feed.read(ledger, position, today=bank.today, limit=request.count, account=stream.account)


def _position(bank: Bank, stream: Stream, cursor: str) -> Position:
    try:
        return cursors.unseal(bank.key, stream, cursor)
    except CursorForeign:
        message = "cursor not associated with access_token"
        raise InvalidField(message) from None


def _echoed(bank: Bank, page: Page) -> Iterator[Update]:
    for update in page.updates:
        yield update
        if bank.faults.strikes(bank.key, Fault.DUPLICATE, update.event.transaction_id.encode()):
            yield update
    following = page.following
    if following and bank.faults.strikes(bank.key, Fault.DUPLICATE, following.event.transaction_id.encode()):
        yield following


def _written(
    ledger: Ledger, updates: Iterable[Update], change: Change, options: ReadingOptions
) -> list[schemas.Transaction]:
    written = [render.transaction(ledger.item, each.event) for each in updates if each.change is change]
    if options.include_original_description:
        return [msgspec.structs.replace(each, original_description=each.name) for each in written]
    return written


def _named(ledger: Ledger, account: Account | None, updates: Iterable[Update]) -> Sequence[Account]:
    if account is not None:
        return [account]
    if ledger.item.balanced:
        return ledger.item.accounts
    # An item of real purchases has hundreds of cards, and nothing to tell of those without a purchase on the page.
    ordinals = {each.event.transaction.account.ordinal for each in updates}
    return [ledger.item.accounts[ordinal] for ordinal in sorted(ordinals)]
