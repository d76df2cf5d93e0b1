"""From what the bank keeps to what Plaid writes. Nothing is decided here."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from dev.bank.api import schemas
from dev.bank.api.errors import Refusal
from dev.bank.feed.feed import Moved, balance
from dev.bank.world.accounts import Account
from dev.bank.world.categories import Channel, Primary
from dev.bank.world.currencies import Currency
from dev.bank.world.items import Item
from dev.bank.world.ledger import Event
from dev.bank.world.merchants import Payee
from dev.bank.world.transactions import Place, Transaction

_NOWHERE = schemas.Location()
_NO_META = schemas.PaymentMeta()
_TYPES = {Channel.ONLINE: "digital", Channel.IN_STORE: "place", Channel.OTHER: "special"}
_ICONS = {primary: f"https://icons.bank.example/PFC_{primary.value}.png" for primary in Primary}
_LOGOS = "https://logos.bank.example"


def accounts(held: Sequence[Account], moved: Moved) -> list[schemas.Account]:
    """Write accounts after `moved` has left the item's accounts."""
    return [_account(account, moved) for account in held]


def item(of: Item) -> schemas.Item:
    """Write an item."""
    return schemas.Item(
        item_id=of.item_id,
        institution_id=of.institution.institution_id,
        institution_name=of.institution.name,
    )


def item_described(of: Item, first_day: date, error: schemas.Error | None) -> schemas.Item:
    """Write an item with the instant of its creation and what keeps it from being read, as `/item/get` does."""
    return schemas.Item(
        item_id=of.item_id,
        institution_id=of.institution.institution_id,
        institution_name=of.institution.name,
        created_at=_midnight(first_day),
        error=error,
    )


def status(today: date) -> schemas.Status:
    """Write the state of an item that was last updated as `today` began."""
    return schemas.Status(transactions=schemas.Updates(last_successful_update=_midnight(today)))


def transaction(of: Item, event: Event) -> schemas.Transaction:
    """Write one of the item's transactions as it is after `event`."""
    made = event.transaction
    account, merchant, category = made.account, made.merchant, made.category
    detailed = of.institution.detailed
    logo = _logo(merchant) if merchant else None
    return schemas.Transaction(
        account_id=account.account_id,
        amount=made.currency.decimal(made.minor),
        iso_currency_code=made.currency.code,
        counterparties=_counterparties(made, logo),
        posted_on=made.posted_at.date(),
        posted_at=made.posted_at if detailed else None,
        authorized_on=made.authorized_at.date(),
        authorized_at=made.authorized_at if detailed else None,
        location=_location(made.place) if made.place else _NOWHERE,
        name=made.name,
        merchant_name=merchant.name if merchant else None,
        merchant_entity_id=merchant.entity_id if merchant else None,
        logo_url=logo,
        website=merchant.website if merchant else None,
        payment_meta=_NO_META,
        payment_channel=made.channel,
        pending=made.pending,
        pending_transaction_id=event.pending_id,
        personal_finance_category=schemas.Category(
            category.primary, category.detailed, merchant.confidence if merchant else "HIGH"
        ),
        personal_finance_category_icon_url=_ICONS[category.primary],
        transaction_id=event.transaction_id,
        transaction_code=made.code if detailed else None,
        transaction_type=_TYPES[made.channel],
    )


def removed(event: Event) -> schemas.Removed:
    """Write that one of the item's transactions is no more."""
    return schemas.Removed(event.transaction.account.account_id, event.transaction_id)


def error(refusal: Refusal, request_id: str) -> schemas.Error:
    """Write a refusal."""
    section = refusal.error_type.value.replace("_", "-").lower()
    return schemas.Error(
        display_message=None,
        documentation_url=f"https://plaid.com/docs/?ref=error#{section}-errors",
        error_code=refusal.error_code,
        error_message=str(refusal),
        error_type=refusal.error_type.value,
        request_id=request_id,
        suggested_action=None,
    )


def _account(account: Account, moved: Moved) -> schemas.Account:
    holds = balance(account, moved)
    kind, subtype = account.kind.value
    return schemas.Account(
        account_id=account.account_id,
        balances=schemas.Balances(
            available=_decimal(account.currency, holds.available),
            current=_decimal(account.currency, holds.current),
            limit=_decimal(account.currency, account.limit),
            iso_currency_code=account.currency.code,
        ),
        mask=account.mask,
        name=account.name,
        official_name=account.official_name,
        subtype=subtype,
        type=kind,
    )


def _decimal(currency: Currency, minor: int | None) -> Decimal | None:
    return None if minor is None else currency.decimal(minor)


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
    return f"{_LOGOS}/{merchant.entity_id}.png"


def _location(place: Place) -> schemas.Location:
    return schemas.Location(city=place.city, country=place.country, store_number=place.store_number)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
