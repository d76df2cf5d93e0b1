"""Endpoints of transactions: a feed of changes, and a list."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from dev.bank.api import auth, render, requests, schemas
from dev.bank.api.endpoints import Endpoint
from dev.bank.api.errors import InvalidField, MutationDuringPagination, ProductNotReady
from dev.bank.api.requests import TransactionOptions
from dev.bank.bank import Bank
from dev.bank.faults import Fault
from dev.bank.feed import cursors, feed, listing
from dev.bank.feed.cursors import CursorInvalid, Stream
from dev.bank.feed.feed import FeedPage, Position, Update
from dev.bank.world.accounts import Account
from dev.bank.world.ledger import Change, Ledger

NOW_CURSOR = "now"
"""A cursor that means the end of the feed as of today."""

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
    next_cursor = cursors.seal(bank.key, stream, page.next_position) if has_moved else cursor
    updates = list(_with_duplicates(bank, page))
    return schemas.TransactionsSyncResponse(
        accounts=render.accounts(item, _accounts_to_list(ledger, account, updates), page.outflows, today=bank.today),
        added=_render_transactions(ledger, updates, Change.ADDED, request.options),
        modified=_render_transactions(ledger, updates, Change.MODIFIED, request.options),
        removed=[render.removed_transaction(each.event) for each in updates if each.change is Change.REMOVED],
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
    updates = [Update(Change.ADDED, each) for each in events[options.offset : options.offset + options.count]]
    outflows = feed.end_position(ledger, feed.start_position(ledger), today=bank.today).outflows
    return schemas.TransactionsGetResponse(
        accounts=render.accounts(item, accounts, outflows, today=bank.today),
        transactions=_render_transactions(ledger, updates, Change.ADDED, options),
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
        position = _unseal_position(bank, stream, cursor)
    elif bank.faults.strikes_not_ready(bank.key, ledger.item.number):
        return FeedPage((), position, feed.end_position(ledger, position, today=bank.today).outflows)
    if position.is_mid_loop and bank.faults.strikes_mutation(bank.key, ledger.item.number, position.loop_start, cursor):
        raise MutationDuringPagination
    return feed.read_page(ledger, position, today=bank.today, limit=request.count, account=stream.account)


def _unseal_position(bank: Bank, stream: Stream, cursor: str) -> Position:
    try:
        return cursors.unseal(bank.key, stream, cursor)
    except CursorInvalid:
        message = "cursor not associated with access_token"
        raise InvalidField(message) from None


def _with_duplicates(bank: Bank, page: FeedPage) -> Iterator[Update]:
    for update in page.updates:
        yield update
        if bank.faults.strikes(bank.key, Fault.DUPLICATE, update.event.transaction_id.encode()):
            yield update
    next_update = page.next_update
    if next_update and bank.faults.strikes(bank.key, Fault.DUPLICATE, next_update.event.transaction_id.encode()):
        yield next_update


def _render_transactions(
    ledger: Ledger, updates: Iterable[Update], change: Change, options: TransactionOptions
) -> list[schemas.Transaction]:
    transactions = [render.transaction(ledger.item, each.event) for each in updates if each.change is change]
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
