"""What a warehouse must hold of the merchants, which the transactions of all logins name."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from dev.bank.bank import Bank
from dev.bank.hostile import flaws
from dev.bank.truth import login, rows
from dev.bank.truth.rows import Row
from dev.bank.world.ledger import Change, Ledger


@dataclass
class MerchantTruth:
    """What a warehouse must hold of one merchant.

    Parameters
    ----------
    must_exist
        Whether a transaction names it that the bank has today.
    newest_on
        Day of the newest such transaction.
    is_in_bad_record
        Whether a record names it that cannot be loaded as a transaction, and perhaps not as a merchant either.
    named
        Day and row of each transaction that ever named it.
    """

    must_exist: bool = False
    newest_on: date = date.min
    is_in_bad_record: bool = False
    named: list[tuple[date, Row]] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """The rows of which the warehouse must hold one: as named on the newest day that its reader has seen."""
        return [row for named_on, row in self.named if named_on >= self.newest_on]


def of_ledgers(bank: Bank, ledgers: Iterable[Ledger]) -> dict[str, MerchantTruth]:
    """Return the truth of the merchants that these items name, by entity id, as of the bank's current day."""
    merchants: dict[str, MerchantTruth] = defaultdict(MerchantTruth)
    for ledger in ledgers:
        for history in login.versions(bank, ledger).values():
            for event in history:
                row = rows.merchant_row(bank, ledger.item, event)
                if row is None or event.change is Change.REMOVED:
                    continue
                truth = merchants[str(row["entity_id"])]
                named_on = event.transaction.posted_at.date()
                truth.named.append((named_on, row))
                if not flaws.is_loadable(bank.flaws_of(ledger.item, event)):
                    truth.is_in_bad_record = True
                elif event is history[-1]:
                    truth.must_exist = True
                    truth.newest_on = max(truth.newest_on, named_on)
    return dict(merchants)
