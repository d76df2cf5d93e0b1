"""Endpoints of transactions: a feed of changes, and a list."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from dev.bank.api import auth, render, requests, schemas
from dev.bank.api.endpoints import Endpoint
from dev.bank.api.errors import InvalidField, MutationDuringPagination, ProductNotReady
from dev.bank.api.requests import TransactionOptions
from dev.bank.bank import Bank
from dev.bank.faults import Fault
from dev.bank.feed import cursors, feed, listing
from dev.bank.feed.cursors import CursorInvalid, Stream
from dev.bank.feed.feed import FeedPage, Position, Update
from dev.bank.hostile.readers import FullRead
from dev.bank.world.accounts import Account
from dev.bank.world.items import Item
from dev.bank.world.ledger import Change, Event, Ledger
from dev.bank.world.seed import pack

NOW_CURSOR = "now"
"""A cursor that means the end of the feed as of today."""

OVERSIZE = 20
"""How many times the records that were asked for an oversized page has."""

_UNKNOWN_CURSOR = "cursor not associated with access_token"
_HISTORY_COMPLETE = "HISTORICAL_UPDATE_COMPLETE"
_NOT_READY = "NOT_READY"


def sync_transactions(
    bank: Bank, request: requests.TransactionsSyncRequest, request_id: str
) -> schemas.TransactionsSyncResponse:
    """Return the next page of an item's feed."""
    ledger = auth.find_readable_ledger(bank, request)
    item = ledger.item
    account_id = request.options.account_id
    account = auth.find_account(item, account_id) if account_id else None
    stream = Stream(item, account)
    cursor = request.cursor or ""
    page = _read_page(bank, ledger, stream, request)
    # A page without updates returns the cursor of the request, which is empty before the first event.
    has_moved = page.updates or cursor == NOW_CURSOR
    next_cursor = _seal_position(bank, stream, page.next_position) if has_moved else cursor
    updates = list(_with_duplicates(bank, page))
    if full_read := _full_read(bank, ledger, stream, cursor):
        updates = [*full_read.keep(updates), *(full_read.more_updates(ledger) if not cursor else ())]
    return schemas.TransactionsSyncResponse(
        accounts=render.accounts(item, _accounts_to_list(ledger, account, updates), page.outflows, today=bank.today),
        added=_render_transactions(bank, item, updates, Change.ADDED, request.options),
        modified=_render_transactions(bank, item, updates, Change.MODIFIED, request.options),
        removed=[
            render.removed_transaction(each.event, _removal_account(bank, item, each.event))
            for each in updates
            if each.change is Change.REMOVED
        ],
        next_cursor=next_cursor,
        has_more=page.has_more,
        request_id=request_id,
        transactions_update_status=_HISTORY_COMPLETE if next_cursor else _NOT_READY,
    )


def get_transactions(
    bank: Bank, request: requests.TransactionsGetRequest, request_id: str
) -> schemas.TransactionsGetResponse:
    """Return an item's transactions in a range of dates, newest first."""
    ledger, options = auth.find_readable_ledger(bank, request), request.options
    if request.start_date > request.end_date:
        message = f"start_date {request.start_date} is after end_date {request.end_date}"
        raise InvalidField(message)
    if bank.faults.strikes_not_ready(bank.key, ledger.item.number):
        raise ProductNotReady
    item, account_ids = ledger.item, options.account_ids
    accounts = item.accounts if account_ids is UNSET else [auth.find_account(item, each) for each in account_ids]
    ordinals = {account.ordinal for account in accounts}
    events = listing.current_events(
        ledger, first=request.start_date, last=request.end_date, today=bank.today, accounts=ordinals
    )
    offset = options.offset + _window_shift(bank, item.number, options.offset)
    updates = [Update(Change.ADDED, each) for each in events[offset : offset + options.count]]
    outflows = feed.end_position(ledger, feed.start_position(ledger), today=bank.today).outflows
    return schemas.TransactionsGetResponse(
        accounts=render.accounts(item, accounts, outflows, today=bank.today),
        transactions=_render_transactions(bank, item, updates, Change.ADDED, options),
        total_transactions=len(events),
        item=render.item(item),
        request_id=request_id,
    )


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("/transactions/sync", requests.TransactionsSyncRequest, sync_transactions),
    Endpoint("/transactions/get", requests.TransactionsGetRequest, get_transactions),
)


def _read_page(bank: Bank, ledger: Ledger, stream: Stream, request: requests.TransactionsSyncRequest) -> FeedPage:
    cursor = request.cursor or ""
    position = feed.start_position(ledger)
    if cursor == NOW_CURSOR:
        end = feed.end_position(ledger, position, today=bank.today)
        return FeedPage((), end, end.outflows)
    if cursor:
        position = _resolve_cursor(bank, stream, cursor)
    elif bank.faults.strikes_not_ready(bank.key, ledger.item.number):
        return FeedPage((), position, feed.end_position(ledger, position, today=bank.today).outflows)
    if position.is_mid_loop and bank.faults.strikes_mutation(bank.key, ledger.item.number, position.loop_start, cursor):
        raise MutationDuringPagination
    if not cursor and stream.account is None:
        bank.readers.begin_full_read(bank.key, bank.faults, ledger, today=bank.today)
    limit = request.count * _page_factor(bank, ledger.item.number)
    page = feed.read_page(ledger, position, today=bank.today, limit=limit, account=stream.account)
    if not page.has_more and stream.account is None:
        bank.readers.finish(ledger.item.number)
    return page


def _resolve_cursor(bank: Bank, stream: Stream, cursor: str) -> Position:
    """Return the position of a cursor, and note that its reader has come so far."""
    number = stream.item.number
    if stream.account is not None:
        return _unseal_position(bank, stream, cursor)
    position = _unseal_position(bank, stream, bank.readers.resolve(number, cursor))
    if not position.is_mid_loop:
        if bank.faults.strikes(bank.key, Fault.LOST_CURSOR, pack(number) + cursor.encode()):
            raise InvalidField(_UNKNOWN_CURSOR)
        bank.readers.acknowledge(number, cursor, position)
    return position


def _seal_position(bank: Bank, stream: Stream, position: Position) -> str:
    """Return the cursor of a position; one between two loops has an earlier one's value if that fault strikes."""
    sealed = cursors.seal(bank.key, stream, position)
    number = stream.item.number
    returns = stream.account is None and bank.faults.strikes(bank.key, Fault.RETURNING_CURSOR, pack(number))
    return bank.readers.issue(number, sealed) if returns and not position.is_mid_loop else sealed


def _full_read(bank: Bank, ledger: Ledger, stream: Stream, cursor: str) -> FullRead | None:
    """Return how a page differs from the ledger, if it belongs to a read from the beginning that does."""
    full_read = bank.readers.full_read(ledger.item.number)
    if full_read is None or stream.account is not None or cursor == NOW_CURSOR:
        return None
    if not cursor:
        return full_read
    position = _unseal_position(bank, stream, bank.readers.resolve(ledger.item.number, cursor))
    is_of_full_read = position.is_mid_loop and position.loop_start == feed.start_position(ledger).loop_start
    return full_read if is_of_full_read else None


def _page_factor(bank: Bank, item: int) -> int:
    subject = bank.faults.count_request(item, Fault.OVERSIZED_PAGE.value)
    return OVERSIZE if bank.faults.strikes(bank.key, Fault.OVERSIZED_PAGE, subject) else 1


def _window_shift(bank: Bank, item: int, offset: int) -> int:
    """Return by how many records a page of a window begins too late: 1 if that fault strikes a page after the first."""
    subject = bank.faults.count_request(item, Fault.WINDOW_SHIFT.value)
    return int(offset > 0 and bank.faults.strikes(bank.key, Fault.WINDOW_SHIFT, subject))


def _removal_account(bank: Bank, item: Item, event: Event) -> str | UnsetType:
    """Return the account that a removal names: the transaction's, none, or another one of the item."""
    subject = event.transaction_id.encode()
    if bank.faults.strikes(bank.key, Fault.REMOVAL_WITHOUT_ACCOUNT, subject):
        return UNSET
    ordinal = event.transaction.account.ordinal
    if bank.faults.strikes(bank.key, Fault.REMOVAL_ELSEWHERE, subject):
        ordinal = (ordinal + 1) % len(item.accounts)
    return item.accounts[ordinal].account_id


def _unseal_position(bank: Bank, stream: Stream, cursor: str) -> Position:
    try:
        return cursors.unseal(bank.key, stream, cursor)
    except CursorInvalid:
        raise InvalidField(_UNKNOWN_CURSOR) from None


def _with_duplicates(bank: Bank, page: FeedPage) -> Iterator[Update]:
    for update in page.updates:
        yield update
        if bank.faults.strikes(bank.key, Fault.DUPLICATE, update.event.transaction_id.encode()):
            yield update
    next_update = page.next_update
    if next_update and bank.faults.strikes(bank.key, Fault.DUPLICATE, next_update.event.transaction_id.encode()):
        yield next_update


def _render_transactions(
    bank: Bank, item: Item, updates: Iterable[Update], change: Change, options: TransactionOptions
) -> list[schemas.Transaction]:
    transactions = [
        render.transaction(item, each.event, bank.flaws_of(item, each.event))
        for each in updates
        if each.change is change
    ]
    if options.include_original_description:
        return [msgspec.structs.replace(each, original_description=each.name) for each in transactions]
    return transactions


def _accounts_to_list(ledger: Ledger, account: Account | None, updates: Iterable[Update]) -> Sequence[Account]:
    if account is not None:
        return [account]
    if ledger.item.has_balances:
        return ledger.item.accounts
    # An item of real purchases has hundreds of cards without balances: list only those with a purchase on the page.
    ordinals = {each.event.transaction.account.ordinal for each in updates}
    return [ledger.item.accounts[ordinal] for ordinal in sorted(ordinals)]
