"""Which rows of a login that was linked again must not count, since the later login has their money or lacks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from dev.bank.truth.login import TransactionTruth
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.sync.history.after_merge import MAX_GAP
from etl.sync.store import reconciliations


@dataclass(frozen=True)
class EarlierRow:
    """A row of the earlier login, live or ended as replaced, as it is stored: later changes at the bank never reach it.

    Parameters
    ----------
    twin
        What is true of the same transaction in the later login; None if that has none.
    """

    transaction_id: str
    account_id: str
    dated_on: date
    amount: Decimal
    pending: bool
    is_live: bool
    twin: TransactionTruth | None

    @property
    def is_repeated(self) -> bool:
        """Whether the later login has the same money; of another amount, nobody can tell that it is the same."""
        row = self.twin.row if self.twin is not None else None
        return row is not None and row["amount"] == self.amount


def find_counted_twice(
    rows: Collection[EarlierRow], days: Mapping[str, Collection[date]], promised_on: date, *, has_rejects: bool
) -> list[str]:
    """Return the ids of the live rows that must have ended.

    These are rows that the later login repeats, and, on days that it covers, those that it lacks, unless it lacks many
    of their account, or records of it are rejected.

    Parameters
    ----------
    days
        Account of the earlier login → days on which the later one has rows of the same account.
    promised_on
        First day of the history that the provider promised to the later login.
    has_rejects
        Whether a record of the later login is rejected, which may be any that it lacks.
    """
    covered = {
        each.transaction_id
        for each in rows
        if not each.pending and each.dated_on >= promised_on and _is_covered(each.dated_on, days[each.account_id])
    }
    lacking = {each.transaction_id for each in rows if each.transaction_id in covered and not each.is_repeated}
    totals = Counter(each.account_id for each in rows if each.transaction_id in covered)
    absences = Counter(each.account_id for each in rows if each.transaction_id in lacking)
    many = {
        account
        for account, absent in absences.items()
        if reconciliations.must_wait(TRANSACTIONS, live=totals[account], absent=absent)
    }
    return [
        each.transaction_id
        for each in rows
        if each.is_live
        and each.twin is not None
        and (
            each.is_repeated
            or (not has_rejects and not each.twin.is_live)
            or (not has_rejects and each.transaction_id in lacking and each.account_id not in many)
        )
    ]


def _is_covered(day: date, days: Collection[date]) -> bool:
    """Return whether a day lies between two days with rows, or after the last, that are near enough to each other."""
    before = [each for each in days if each < day]
    return bool(before) and min((each for each in days if each >= day), default=day) - max(before) <= MAX_GAP
