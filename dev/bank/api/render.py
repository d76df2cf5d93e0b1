"""From what the bank keeps to what Plaid writes. Nothing is decided here."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from dev.bank.api import schemas
from dev.bank.api.errors import ApiError
from dev.bank.feed.feed import Outflows, compute_balance
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


def accounts(held: Sequence[Account], outflows: Outflows) -> list[schemas.Account]:
    """Write accounts after `outflows` has left the item's accounts."""
    return [_account(account, outflows) for account in held]


def item(bank_item: Item) -> schemas.Item:
    """Write an item."""
    return schemas.Item(
        item_id=bank_item.item_id,
        institution_id=bank_item.institution.institution_id,
        institution_name=bank_item.institution.name,
    )


def item_details(bank_item: Item, first_day: date, error: schemas.Error | None) -> schemas.Item:
    """Write an item with the instant of its creation and what keeps it from being read, as `/item/get` does."""
    return schemas.Item(
        item_id=bank_item.item_id,
        institution_id=bank_item.institution.institution_id,
        institution_name=bank_item.institution.name,
        created_at=_midnight(first_day),
        error=error,
    )


def status(today: date) -> schemas.ItemStatus:
    """Write the state of an item that was last updated as `today` began."""
    return schemas.ItemStatus(transactions=schemas.TransactionsStatus(last_successful_update=_midnight(today)))


def transaction(bank_item: Item, event: Event) -> schemas.Transaction:
    """Write one of the item's transactions as it is after `event`."""
    made = event.transaction
    account, merchant, category = made.account, made.merchant, made.category
    detailed = bank_item.institution.sends_transaction_codes
    logo = _logo(merchant) if merchant else None
    return schemas.Transaction(
        account_id=account.account_id,
        amount=made.currency.to_decimal(made.amount_minor),
        iso_currency_code=made.currency.code,
        counterparties=_counterparties(made, logo),
        posted_on=made.posted_at.date(),
        posted_at=made.posted_at if detailed else None,
        authorized_on=made.authorized_at.date(),
        authorized_at=made.authorized_at if detailed else None,
        location=_location(made.store_location) if made.store_location else _NO_LOCATION,
        name=made.name,
        merchant_name=merchant.name if merchant else None,
        merchant_entity_id=merchant.entity_id if merchant else None,
        logo_url=logo,
        website=merchant.website if merchant else None,
        payment_meta=_NO_PAYMENT_META,
        payment_channel=made.channel,
        pending=made.pending,
        pending_transaction_id=event.pending_id,
        personal_finance_category=schemas.PersonalFinanceCategory(
            category.primary, category.detailed, merchant.confidence if merchant else "HIGH"
        ),
        personal_finance_category_icon_url=_ICON_URLS[category.primary],
        transaction_id=event.transaction_id,
        transaction_code=made.code if detailed else None,
        transaction_type=_TRANSACTION_TYPES[made.channel],
    )


def removed_transaction(event: Event) -> schemas.RemovedTransaction:
    """Write that one of the item's transactions is no more."""
    return schemas.RemovedTransaction(event.transaction.account.account_id, event.transaction_id)


def error(api_error: ApiError, request_id: str) -> schemas.Error:
    """Write a refusal."""
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


def _account(account: Account, outflows: Outflows) -> schemas.Account:
    holds = compute_balance(account, outflows)
    kind, subtype = account.kind.value
    return schemas.Account(
        account_id=account.account_id,
        balances=schemas.Balances(
            available=_decimal(account.currency, holds.available),
            current=_decimal(account.currency, holds.current),
            limit=_decimal(account.currency, account.credit_limit),
            iso_currency_code=account.currency.code,
        ),
        mask=account.mask,
        name=account.name,
        official_name=account.official_name,
        subtype=subtype,
        type=kind,
    )


def _decimal(currency: Currency, minor: int | None) -> Decimal | None:
    return None if minor is None else currency.to_decimal(minor)


def _counterparties(made: Transaction, logo: str | None) -> list[schemas.Counterparty]:
    if merchant := made.merchant:
        return [
            schemas.Counterparty(
                merchant.name, "merchant", logo, merchant.website, merchant.entity_id, merchant.confidence
            )
        ]
    if made.payer:
        return [schemas.Counterparty(made.payer, "income_source", None, None, None, "HIGH")]
    return []


def _logo(merchant: Payee) -> str:
    return f"{_LOGO_BASE_URL}/{merchant.entity_id}.png"


def _location(place: StoreLocation) -> schemas.Location:
    return schemas.Location(city=place.city, country=place.country, store_number=place.store_number)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
