"""Converts the bank's accounts, items, transactions and errors to Plaid's schemas."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from msgspec import UNSET, UnsetType

from dev.bank.api import schemas
from dev.bank.api.errors import ApiError
from dev.bank.feed.feed import Outflows, compute_balance
from dev.bank.hostile.flaws import Flaw
from dev.bank.world.accounts import Account
from dev.bank.world.categories import PaymentChannel, PrimaryCategory
from dev.bank.world.currencies import Currency
from dev.bank.world.items import Item
from dev.bank.world.ledger import Event
from dev.bank.world.merchants import Payee
from dev.bank.world.transactions import StoreLocation, Transaction

_NO_LOCATION = schemas.Location()
_NO_PAYMENT_META = schemas.PaymentMeta()
_TRANSACTION_TYPES = {
    PaymentChannel.ONLINE: "digital",
    PaymentChannel.IN_STORE: "place",
    PaymentChannel.OTHER: "special",
}
_ICON_URLS = {primary: f"https://icons.bank.example/PFC_{primary.value}.png" for primary in PrimaryCategory}
_LOGO_BASE_URL = "https://logos.bank.example"


def accounts(bank_item: Item, held: Sequence[Account], outflows: Outflows, *, today: date) -> list[schemas.Account]:
    """Return accounts of the item, with their balances after `outflows`."""
    updated_at = _midnight(today) if bank_item.institution.sends_balance_times else None
    return [_account(account, outflows, updated_at) for account in held]


def item(bank_item: Item) -> schemas.Item:
    """Return an item without the details that only `/item/get` shows."""
    return schemas.Item(
        item_id=bank_item.item_id,
        institution_id=bank_item.institution.institution_id,
        institution_name=bank_item.institution.name,
    )


def item_details(bank_item: Item, first_day: date, error: schemas.Error | None) -> schemas.Item:
    """Return an item with its time of creation and the error that makes it unreadable, for `/item/get`."""
    return schemas.Item(
        item_id=bank_item.item_id,
        institution_id=bank_item.institution.institution_id,
        institution_name=bank_item.institution.name,
        created_at=_midnight(first_day),
        error=error,
    )


def status(today: date) -> schemas.ItemStatus:
    """Return the status of an item that was last updated when `today` began."""
    return schemas.ItemStatus(transactions=schemas.TransactionsStatus(last_successful_update=_midnight(today)))


def transaction(bank_item: Item, event: Event, flaws: tuple[Flaw, ...] = ()) -> schemas.Transaction:
    """Return one of the item's transactions as it is after `event`, marked with the flaws that it is sent with."""
    bank_transaction = event.transaction
    account, merchant, category = bank_transaction.account, bank_transaction.merchant, bank_transaction.category
    has_details = bank_item.institution.sends_transaction_codes
    logo = _logo(merchant) if merchant else None
    return schemas.Transaction(
        account_id=account.account_id,
        amount=bank_transaction.currency.to_decimal(bank_transaction.amount_minor),
        iso_currency_code=bank_transaction.currency.code,
        counterparties=_counterparties(bank_transaction, logo),
        posted_on=bank_transaction.posted_at.date(),
        posted_at=bank_transaction.posted_at if has_details else None,
        authorized_on=bank_transaction.authorized_at.date(),
        authorized_at=bank_transaction.authorized_at if has_details else None,
        location=_location(bank_transaction.store_location) if bank_transaction.store_location else _NO_LOCATION,
        name=bank_transaction.name,
        merchant_name=merchant.name if merchant else None,
        merchant_entity_id=merchant.entity_id if merchant else None,
        logo_url=logo,
        website=merchant.website if merchant else None,
        payment_meta=_NO_PAYMENT_META,
        payment_channel=bank_transaction.channel,
        pending=bank_transaction.pending,
        pending_transaction_id=event.pending_id,
        personal_finance_category=schemas.PersonalFinanceCategory(
            category.primary, category.detailed, merchant.confidence if merchant else "HIGH"
        ),
        personal_finance_category_icon_url=_ICON_URLS[category.primary],
        transaction_id=event.transaction_id,
        transaction_code=bank_transaction.code if has_details else None,
        transaction_type=_TRANSACTION_TYPES[bank_transaction.channel],
        flaws=flaws or UNSET,
    )


def removed_transaction(event: Event, account_id: str | UnsetType) -> schemas.RemovedTransaction:
    """Return the removal of one of the item's transactions, with the account that it names."""
    return schemas.RemovedTransaction(account_id, event.transaction_id)


def error(api_error: ApiError, request_id: str) -> schemas.Error:
    """Return the body of an error response."""
    section = api_error.error_type.value.replace("_", "-").lower()
    return schemas.Error(
        display_message=None,
        documentation_url=f"https://plaid.com/docs/?ref=error#{section}-errors",
        error_code=api_error.error_code,
        error_message=str(api_error),
        error_type=api_error.error_type.value,
        request_id=request_id,
        suggested_action=None,
    )


def _account(account: Account, outflows: Outflows, updated_at: datetime | None) -> schemas.Account:
    balance = compute_balance(account, outflows)
    account_type, subtype = account.kind.value
    return schemas.Account(
        account_id=account.account_id,
        balances=schemas.Balances(
            available=_decimal(account.currency, balance.available),
            current=_decimal(account.currency, balance.current),
            limit=_decimal(account.currency, account.credit_limit),
            iso_currency_code=account.currency.code,
            last_updated_datetime=updated_at or UNSET,
        ),
        mask=account.mask,
        name=account.name,
        official_name=account.official_name,
        subtype=subtype,
        type=account_type,
        persistent_account_id=account.persistent_id or UNSET,
    )


def _decimal(currency: Currency, minor: int | None) -> Decimal | None:
    return None if minor is None else currency.to_decimal(minor)


def _counterparties(bank_transaction: Transaction, logo: str | None) -> list[schemas.Counterparty]:
    if merchant := bank_transaction.merchant:
        return [
            schemas.Counterparty(
                merchant.name, "merchant", logo, merchant.website, merchant.entity_id, merchant.confidence
            )
        ]
    if bank_transaction.payer:
        return [schemas.Counterparty(bank_transaction.payer, "income_source", None, None, None, "HIGH")]
    return []


def _logo(merchant: Payee) -> str:
    return f"{_LOGO_BASE_URL}/{merchant.entity_id}.png"


def _location(store: StoreLocation) -> schemas.Location:
    return schemas.Location(city=store.city, country=store.country, store_number=store.store_number)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
