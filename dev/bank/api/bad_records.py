"""Spoils single records of a response that is otherwise valid, and adds empty ones."""

from decimal import Decimal

import msgspec

from dev.bank.faults import Faults
from dev.bank.hostile import flaws
from dev.bank.hostile.flaws import RECORD_FAULTS, Record

EMPTY_RECORDS = 1_000_000
"""Empty records of a page that has them."""

_RECORD_LISTS = ("accounts", "added", "modified", "transactions")


def spoil(faults: Faults, answer: object) -> object:
    """Return a response in which those records are spoiled that are marked as having flaws."""
    if not faults.any_enabled(*RECORD_FAULTS):
        return answer
    fields = _as_record(answer)
    for record in (record for name in _RECORD_LISTS for record in fields.get(name, ())):
        flaws.spoil(record, record.pop("flaws", ()))
    return fields


def add_empty_records(answer: object) -> object:
    """Return a response with a million records more in its list of transactions, if it has one: `{}`."""
    fields = _as_record(answer)
    for name in ("added", "transactions"):
        if name in fields:
            fields[name] += [{}] * EMPTY_RECORDS
    return fields


def _as_record(answer: object) -> Record:
    if isinstance(answer, dict):
        return answer
    fields: Record = msgspec.to_builtins(answer, builtin_types=(Decimal,))
    return fields
