"""Corrupts single transactions of a response that is otherwise valid."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from dev.bank.faults import Fault, Faults
from dev.bank.world.seed import Key

Record = dict[str, Any]

HUGE_AMOUNT = Decimal(10**15)
"""Whole units of currency; more than any account holds."""

UNKNOWN_CURRENCY = "ZZZ"
"""A currency code that is not in ISO 4217."""

_TRANSACTION_LISTS = ("added", "modified", "transactions")


def _unknown_currency(record: Record) -> None:
    record["iso_currency_code"] = UNKNOWN_CURRENCY


def _huge_amount(record: Record) -> None:
    record["amount"] = HUGE_AMOUNT


def _nul_name(record: Record) -> None:
    record["name"] = f"{record['name'][:4]}\0{record['name'][4:]}"


def _emoji_name(record: Record) -> None:
    record["name"] = f"{record['name']} 🧑‍🍳☕️🇯🇵"


def _missing_field(record: Record) -> None:
    del record["account_id"]


def _wrong_type(record: Record) -> None:
    record["amount"] = {"value": "twelve"}


CORRUPTIONS: dict[Fault, Callable[[Record], None]] = {
    Fault.UNKNOWN_CURRENCY: _unknown_currency,
    Fault.HUGE_AMOUNT: _huge_amount,
    Fault.NUL_NAME: _nul_name,
    Fault.EMOJI_NAME: _emoji_name,
    Fault.MISSING_FIELD: _missing_field,
    Fault.WRONG_TYPE: _wrong_type,
}


def corrupt(key: Key, faults: Faults, answer: msgspec.Struct) -> object:
    """Return a response in which those transactions are corrupted that a fault strikes."""
    if not faults.any_enabled(*CORRUPTIONS):
        return answer
    fields: Record = msgspec.to_builtins(answer, builtin_types=(Decimal,))
    for record in (record for name in _TRANSACTION_LISTS for record in fields.get(name, ())):
        identity = record["transaction_id"].encode()
        for fault, corruption in CORRUPTIONS.items():
            if faults.strikes(key, fault, identity):
                corruption(record)
    return fields
