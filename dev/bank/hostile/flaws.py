"""Faults of single records: how a record is spoiled, and what becomes of the row that it would be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dev.bank.faults import Fault, Faults
from dev.bank.world.accounts import Account
from dev.bank.world.items import Item
from dev.bank.world.ledger import Change, Event
from dev.bank.world.seed import Key, pack

Record = dict[str, Any]

HUGE_AMOUNT = Decimal(10**15)
"""Whole units of currency; more than any account holds."""

TINY_AMOUNT = Decimal("1e-999999999")
"""Not zero, and so far below the minor unit of any currency that it is noise."""

UNKNOWN_CURRENCY = "ZZZ"
"""A currency code that is not in ISO 4217."""

AMOUNT_NOISE = Decimal("1e-15")
"""What a binary fraction adds to an amount."""

Flaw = tuple[str, int]
"""Name of a fault, and the number of the way in which it spoils a record."""

FIELDS_BY_WAY: tuple[tuple[str, ...], ...] = (
    ("payment_channel",),
    ("dated_at",),
    ("dated_at",),
    ("dated_at",),
    ("authorized_at",),
    ("authorized_at",),
    ("authorized_on",),
    ("category", "category_detail"),
    ("merchant_name",),
    ("description",),
)
"""Way in which an optional field is bad → columns of the row that are null."""

_SPOILED_IN_TEN = 7
"""Spoiled records of ten of a spoiled login."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a fault does to a record.

    Parameters
    ----------
    spoil
        Changes the record, in one of several ways.
    ways
        Number of ways.
    null_columns
        Way → columns that are null in the row; None if the record cannot be loaded.
    """

    spoil: Callable[[Record, int], None]
    ways: int = 1
    null_columns: Callable[[int], tuple[str, ...]] | None = None


def _set(field: str, value: object) -> Callable[[Record, int], None]:
    def spoil(record: Record, _way: int) -> None:
        record[field] = value

    return spoil


def _emoji_name(record: Record, _way: int) -> None:
    record["name"] = emoji_name(record["name"])


def _nul_name(record: Record, _way: int) -> None:
    record["name"] = f"{record['name'][:4]}\0{record['name'][4:]}"


def _missing_field(record: Record, _way: int) -> None:
    del record["account_id"]


def _add_noise(record: Record, way: int) -> None:
    amount = record["amount"]
    if way:
        digits = f"{amount:f}"
        record["amount"] = Decimal(digits + ("" if "." in digits else ".") + "0" * 39)
    else:
        record["amount"] = amount + AMOUNT_NOISE.copy_sign(amount)


def _break(record: Record, way: int) -> None:
    """Make a record invalid in one of four ways."""
    field, value = (
        ("amount", {"value": "twelve"}),
        ("iso_currency_code", UNKNOWN_CURRENCY),
        ("account_id", None),
        ("date", "30/11/2022"),
    )[way]
    record[field] = value


def _break_optional_field(record: Record, way: int) -> None:
    day = record["date"]
    field, value = (
        ("payment_channel", None),
        ("datetime", f"{day}T10:00:00"),
        ("datetime", f"{day}T10:00:60Z"),
        ("datetime", ""),
        ("authorized_datetime", ""),
        ("authorized_datetime", f"{day}T10:00:00"),
        ("authorized_date", f"{day}T00:00:00Z"),
        ("personal_finance_category", "FOOD_AND_DRINK"),
        ("merchant_name", 12_345),
        ("name", None),
    )[way]
    record[field] = value


def _no_column(_way: int) -> tuple[str, ...]:
    return ()


_KINDS: dict[Fault, _Kind] = {
    Fault.UNKNOWN_CURRENCY: _Kind(_set("iso_currency_code", UNKNOWN_CURRENCY)),
    Fault.HUGE_AMOUNT: _Kind(_set("amount", HUGE_AMOUNT), null_columns=_no_column),
    Fault.NUL_NAME: _Kind(_nul_name, null_columns=lambda _: ("description",)),
    Fault.EMOJI_NAME: _Kind(_emoji_name, null_columns=_no_column),
    Fault.MISSING_FIELD: _Kind(_missing_field),
    Fault.WRONG_TYPE: _Kind(_set("amount", {"value": "twelve"})),
    Fault.TINY_EXPONENT: _Kind(_set("amount", TINY_AMOUNT), null_columns=_no_column),
    Fault.AMOUNT_NOISE: _Kind(_add_noise, ways=2, null_columns=_no_column),
    Fault.BAD_OPTIONAL_FIELD: _Kind(
        _break_optional_field, ways=len(FIELDS_BY_WAY), null_columns=FIELDS_BY_WAY.__getitem__
    ),
    Fault.INVALID_CORRECTION: _Kind(_break, ways=4),
    Fault.BAD_POSTING: _Kind(_break, ways=4),
    Fault.SPOILED_LOGIN: _Kind(_set("iso_currency_code", UNKNOWN_CURRENCY)),
    Fault.NULL_CHANNEL: _Kind(_set("payment_channel", None), null_columns=lambda _: ("payment_channel",)),
}

RECORD_FAULTS = (*_KINDS, Fault.BAD_BALANCE)
"""Faults that spoil records."""

BALANCE_WAYS = 2
"""Ways in which a balance is invalid: two currencies at once, or half a minor unit."""

BALANCE_PERIOD_DAYS = 2
"""Days for which a balance stays invalid."""


def flaws_of(key: Key, faults: Faults, item: Item, event: Event) -> tuple[Flaw, ...]:
    """Return how the record of an event is spoiled."""
    if not faults.any_enabled(*_KINDS):
        return ()
    return tuple(
        (fault.value, faults.choose(key, fault, subject, count=_KINDS[fault].ways))
        for fault, subject in _struck(key, faults, item, event)
    )


def flaws_of_account(key: Key, faults: Faults, item: Item, account: Account, *, today: int) -> tuple[Flaw, ...]:
    """Return how the record of an account is spoiled on the day with the ordinal `today`."""
    subject = pack(item.number, account.ordinal, today // BALANCE_PERIOD_DAYS)
    if not faults.strikes(key, Fault.BAD_BALANCE, subject):
        return ()
    return ((Fault.BAD_BALANCE.value, faults.choose(key, Fault.BAD_BALANCE, subject, count=BALANCE_WAYS)),)


def spoil(record: Record, flaws: tuple[Flaw, ...]) -> None:
    """Spoil the record of a transaction or an account."""
    for name, way in flaws:
        if name == Fault.BAD_BALANCE.value:
            _spoil_balance(record, way)
        else:
            _KINDS[Fault(name)].spoil(record, way)


def row_of(row: Mapping[str, object], flaws: tuple[Flaw, ...]) -> dict[str, object] | None:
    """Return the row that a record with these flaws is loaded as, from that of one without; None if it is rejected."""
    loaded = dict(row)
    for name, way in flaws:
        kind = _KINDS[Fault(name)]
        if kind.null_columns is None:
            return None
        loaded |= dict.fromkeys(kind.null_columns(way))
        if name == Fault.HUGE_AMOUNT.value:
            loaded["amount"] = HUGE_AMOUNT
        elif name == Fault.TINY_EXPONENT.value:
            loaded["amount"] = Decimal(0)
        elif name == Fault.EMOJI_NAME.value:
            loaded["description"] = emoji_name(str(loaded["description"]))
    return loaded


def is_loadable(flaws: tuple[Flaw, ...]) -> bool:
    """Return whether a record with these flaws can be loaded."""
    return all(_KINDS[Fault(name)].null_columns is not None for name, _ in flaws)


def null_columns(flaw: Flaw) -> tuple[str, ...]:
    """Return the columns that a flaw makes null in the row; none if its record cannot be loaded."""
    columns = _KINDS[Fault(flaw[0])].null_columns
    return () if columns is None else columns(flaw[1])


def emoji_name(name: str) -> str:
    """Return a name with emoji of several code points."""
    return f"{name} 🧑‍🍳☕️🇯🇵"


def _struck(key: Key, faults: Faults, item: Item, event: Event) -> list[tuple[Fault, bytes]]:
    identity = event.transaction_id.encode()
    version = identity + event.happened_on.isoformat().encode()
    is_correction, is_posting = event.change is Change.MODIFIED, event.change is Change.ADDED and event.pending_id
    struck: list[tuple[Fault, bytes]] = []
    institution = item.institution.institution_id.encode()
    if faults.strikes(key, Fault.NULL_CHANNEL, institution):
        struck.append((Fault.NULL_CHANNEL, institution))
    if faults.strikes(key, Fault.SPOILED_LOGIN, pack(item.number)) and (
        faults.choose(key, Fault.SPOILED_LOGIN, identity, count=10) < _SPOILED_IN_TEN
    ):
        return [*struck, (Fault.SPOILED_LOGIN, identity)]
    # One flaw a record, besides that of its institution, so that each keeps its effect.
    for fault in _KINDS:
        if not faults.any_enabled(fault) or fault in (Fault.SPOILED_LOGIN, Fault.NULL_CHANNEL):
            continue
        if (fault is Fault.INVALID_CORRECTION and not is_correction) or (fault is Fault.BAD_POSTING and not is_posting):
            continue
        subject = version if fault in (Fault.INVALID_CORRECTION, Fault.BAD_POSTING) else identity
        if faults.strikes(key, fault, subject):
            return [*struck, (fault, subject)]
    return struck


def _spoil_balance(record: Record, way: int) -> None:
    balances = record["balances"]
    if way or balances["current"] is None:
        balances["unofficial_currency_code"] = "XYZ"
    else:
        exponent = balances["current"].as_tuple().exponent
        balances["current"] += Decimal(5).scaleb(exponent - 1)
