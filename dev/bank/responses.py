"""Responses as Plaid writes them, one for each endpoint, and its error."""

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


class AccountsGot(Struct, frozen=True):
    """Response of `/accounts/get`."""

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


class Error(Struct, frozen=True):
    """Plaid's `PlaidError`."""

    display_message: str | None
    documentation_url: str
    error_code: str
    error_message: str
    error_type: str
    request_id: str
    suggested_action: str | None
