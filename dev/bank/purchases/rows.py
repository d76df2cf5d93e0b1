"""Rows of a published file of card purchases."""

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Self, TextIO

STERLING = "GBP"
DECIMAL_PLACES = 2
"""Decimal places of every amount in the file, whatever its currency."""

_COLUMNS = (
    "source_file",
    "source_row",
    "DIRECTORATE",
    "CARD NUMBER",
    "TRANS DATE",
    "ORIGINAL GROSS AMT",
    "ORIGINAL CUR",
    "BILLING CUR CODE",
    "MERCHANT NAME",
)
_DATE_LENGTH = len("2017-01-03")


class PurchaseUnreadable(ValueError):
    """A row of the file is not a purchase."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        self.reason = f"line {line}: {reason}"
        super().__init__(f"{path}, {self.reason}; fix the file or serve another one")


@dataclass(frozen=True, slots=True)
class Purchase:
    """A purchase, as one row of the file states it.

    Parameters
    ----------
    source, row
        The publication and its row that hold the purchase: its identity.
    amount_minor
        Hundredths of the currency; negative for a refund.
    currency
        ISO 4217 code, as of the time of the purchase.
    """

    source: str
    row: int
    directorate: str
    card: str
    bought_on: date
    amount_minor: int
    currency: str
    merchant: str

    @classmethod
    def from_fields(cls, fields: Sequence[str]) -> Self:
        """Return the purchase in the cells of the needed columns, in order.

        Raises
        ------
        ValueError, ArithmeticError
            If a cell is invalid.
        """
        source, row, directorate, card, timestamp, amount, original, billing, merchant = fields
        hundredths = Decimal(amount).scaleb(DECIMAL_PLACES)
        if hundredths != int(hundredths):
            message = f"amount {amount} has more than {DECIMAL_PLACES} places"
            raise ValueError(message)
        bought_on = datetime.fromisoformat(timestamp[:_DATE_LENGTH]).date()
        currency = original.strip() or billing.strip() or STERLING
        return cls(source, int(row), directorate.strip(), card, bought_on, int(hundredths), currency, merchant.strip())


def read(path: Path) -> Iterator[Purchase]:
    """Yield the purchases in a CSV file, which is compressed by gzip if its name ends in `.gz`; empty rows are skipped.

    Raises
    ------
    PurchaseUnreadable
        If a column is missing or a row cannot be read.
    """
    with _open(path) as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if missing := [name for name in _COLUMNS if name not in header]:
            raise PurchaseUnreadable(path, 1, f"columns are missing: {', '.join(missing)}")
        indexes = [header.index(name) for name in _COLUMNS]
        for cells in rows:
            if cells and len(cells) <= max(indexes):
                raise PurchaseUnreadable(path, rows.line_num, f"{len(cells)} cells where the header has {len(header)}")
            fields = [cells[index] for index in indexes] if cells else []
            if not any(field.strip() for field in fields[2:]):
                continue
            try:
                yield Purchase.from_fields(fields)
            except (ValueError, ArithmeticError) as error:
                raise PurchaseUnreadable(path, rows.line_num, str(error)) from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
