"""What users corrected on transactions: it outranks what the provider sends, field by field.

The view `core.effective_transactions` applies it. A load carries a correction from a pending transaction to the one
that replaces it (`carried_corrections` in `include/sql/entities/transactions.corrections.sql`), and changes nothing
else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile
from etl.errors import PermanentError

MAX_LENGTHS = {"category": 100, "merchant_name": 500, "note": 2_000, "corrected_by": 200}
"""Text → characters that it may have; the table has the same limits."""

FIELDS = ("category", "merchant_name", "note", "is_ignored")
"""Names of the fields that can be corrected."""

_SQL = StatementFile("sync/history/corrections")


class CorrectionInvalid(PermanentError):
    """A value of a correction cannot be stored."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}; nothing was corrected.")


class TransactionMissing(PermanentError):
    """A login has no transaction with this id."""

    def __init__(self, provider_account_id: int, transaction_id: str) -> None:
        super().__init__(
            f"login {provider_account_id} has no transaction {transaction_id!r}; nothing was corrected. "
            "`sluice history transaction ID` shows which logins have an id."
        )


@dataclass(frozen=True)
class Correction:
    """What was corrected on a transaction; None where the provider's value holds.

    Parameters
    ----------
    is_ignored
        Whether reports leave the transaction out.
    carried_from
        The transactions whose corrections were carried to this one.
    corrected_at, corrected_by
        When it was last corrected, and by whom.
    """

    provider_account_id: int
    transaction_id: str
    category: str | None
    merchant_name: str | None
    note: str | None
    is_ignored: bool | None
    carried_from: list[str]
    corrected_at: datetime
    corrected_by: str

    @property
    def fields(self) -> dict[str, str | bool]:
        """The corrected fields with their values."""
        return {name: value for name in FIELDS if (value := getattr(self, name)) is not None}


def correct(
    db: Connection,
    provider_account_id: int,
    transaction_id: str,
    *,
    values: Mapping[str, str | bool],
    cleared: Collection[str] = (),
    corrected_by: str,
) -> list[Correction]:
    """Correct fields of a transaction, and of those that have replaced it since.

    Parameters
    ----------
    values
        New values by name of the field.
    cleared
        Names of fields that get the provider's values again.
    corrected_by
        Who corrects it.

    Returns
    -------
    list of Correction
        That of the transaction first, then those of the transactions that replaced it.

    Raises
    ------
    CorrectionInvalid
        If a field is unknown or both given and cleared, or if a text is empty, too long or not storable.
    TransactionMissing
        If the login has no such transaction.
    """
    _check_fields(values, cleared)
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    for name, text in {**texts, "corrected_by": corrected_by}.items():
        _check_text(name, text)
    found = _SQL["correct"].objects(
        db,
        Correction,
        {
            "provider_account_id": provider_account_id,
            "transaction_id": transaction_id,
            **{name: values.get(name) for name in FIELDS},
            "cleared": list(cleared),
            "corrected_by": corrected_by,
        },
    )
    if not found:
        raise TransactionMissing(provider_account_id, transaction_id)
    return sorted(found, key=lambda each: each.transaction_id != transaction_id)


def carry(db: Connection, carried: Statement) -> int:
    """Copy corrections to other transactions, and return how many there were to copy.

    Fields that are corrected there stay. A correction is copied once, so that a field which is cleared there later does
    not return.

    Parameters
    ----------
    carried
        Returns the copies: the columns of `core.corrections`, but in `carried_from` the id of the one transaction that
        was corrected; and `step`, which is above 0.
    """
    return _SQL["carry"].substitute(carried=carried).run(db)


def find(db: Connection, provider_account_id: int, transaction_id: str) -> Correction | None:
    """Return the correction of a transaction; None if it has none."""
    key = {"provider_account_id": provider_account_id, "transaction_id": transaction_id}
    return _SQL["find"].first(db, Correction, key)


def _check_fields(values: Mapping[str, str | bool], cleared: Collection[str]) -> None:
    for name in (*values, *cleared):
        if name not in FIELDS:
            raise CorrectionInvalid(name, f"cannot be corrected; name one of {', '.join(FIELDS)}")
        if name in values and name in cleared:
            raise CorrectionInvalid(name, "is given and cleared at once; do one of both")
    if not values and not cleared:
        raise CorrectionInvalid("the correction", f"has no field; give or clear one of {', '.join(FIELDS)}")


def _check_text(name: str, text: str) -> None:
    limit = MAX_LENGTHS[name]
    if not text.strip():
        raise CorrectionInvalid(name, "is empty; clear it to get the provider's value again")
    if len(text) > limit:
        raise CorrectionInvalid(name, f"has {len(text):,} characters; shorten it to {limit:,} at most")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise CorrectionInvalid(name, "has a NUL or half a surrogate pair, which Postgres cannot store; remove it")
