"""Responses as Plaid writes them, one for each endpoint, and its error."""

from datetime import date

from msgspec import Struct

from dev.bank import wire


class PublicTokenCreated(Struct, frozen=True):
    """Response of `/sandbox/public_token/create`."""

    public_token: str
    request_id: str


class PublicTokenExchanged(Struct, frozen=True):
    """Response of `/item/public_token/exchange`."""

    access_token: str
    item_id: str
    request_id: str


class ItemGot(Struct, frozen=True):
    """Response of `/item/get`."""

    item: wire.Item
    status: wire.Status
    request_id: str


class Done(Struct, frozen=True):
    """Response of `/item/remove` and of `/sandbox/transactions/create`."""

    request_id: str


class LoginReset(Struct, frozen=True):
    """Response of `/sandbox/item/reset_login`."""

    reset_login: bool
    request_id: str


class AccountsGot(Struct, frozen=True):
    """Response of `/accounts/get` and of `/accounts/balance/get`."""

    accounts: list[wire.Account]
    item: wire.Item
    request_id: str


class TransactionsSynced(Struct, frozen=True):
    """Response of `/transactions/sync`."""

    accounts: list[wire.Account]
    added: list[wire.Transaction]
    modified: list[wire.Transaction]
    removed: list[wire.Removed]
    next_cursor: str
    has_more: bool
    request_id: str
    transactions_update_status: str


class TransactionsGot(Struct, frozen=True):
    """Response of `/transactions/get`."""

    accounts: list[wire.Account]
    transactions: list[wire.Transaction]
    total_transactions: int
    item: wire.Item
    request_id: str


class FaultsSwitched(Struct, frozen=True):
    """Response of `/sandbox/faults`: the rate of each fault that is on."""

    faults: dict[str, float]
    request_id: str


class DayTurned(Struct, frozen=True):
    """Response of `/sandbox/day`: the bank's today."""

    day: date
    request_id: str
