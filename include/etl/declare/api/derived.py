"""Checks of columns and rows that are derived: from other columns, from the request, or from what is absent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from etl.declare.api.paging import OnePage, Total
from etl.declare.api.part import Part
from etl.declare.api.request import Placeholder
from etl.declare.api.value import ByList
from etl.declare.column import Column, ColumnType
from etl.declare.source import Listing, Recent, Source
from etl.declare.validation import require_distinct, require_duration, require_type
from etl.errors import DeclarationError


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """Finds the posted record that a pending one became, by exact amount, currency and account, and by its date.

    A pending row that is absent is settled if exactly one posted row fits it, and it is the only pending row that this
    posted row fits. Its `removed_for` is then `posted`, and `posted_as` the key of the posted row. Where two rows fit,
    nothing is guessed: it ends as absent.

    Parameters
    ----------
    within
        Longest time from the date of the pending row to that of the posted one.
    amount, currency, account
        Columns that are equal in both.
    """

    within: timedelta = timedelta(days=14)
    amount: str = "amount"
    currency: str = "currency"
    account: str = "account_id"

    def __post_init__(self) -> None:
        require_duration("settlement", "within", self.within)
        for name in ("amount", "currency", "account"):
            require_type("settlement", name, getattr(self, name), str)
        require_distinct("settlement", "it", (self.amount, self.currency, self.account))


def check_uses(where: str, columns: Sequence[Column], currencies: Sequence[str]) -> None:
    """Refuse a column that depends on one that does not exist, is of another type, or depends on it."""
    by_name = {column.name: column for column in columns}
    for column in columns:
        for name, kind in column.uses.items():
            if name not in by_name:
                raise DeclarationError(
                    f"{where}: column {column.name} depends on {name}, which is not among its columns; declare it, "
                    "perhaps with stored=False"
                )
            if kind is not None and by_name[name].kind is not kind:
                raise DeclarationError(
                    f"{where}: column {column.name} depends on {name}, which is of "
                    f"ColumnType.{by_name[name].kind.name}; it must be of ColumnType.{kind.name}"
                )
        if column.minor_units is True and not currencies:
            raise DeclarationError(
                f"{where}: column {column.name} has minor_units=True without a currency; name the columns that hold it "
                "in `currencies`, or write the number of decimals"
            )
    for column in columns:
        reached = _reachable(column, by_name)
        if column.name in reached:
            raise DeclarationError(
                f"{where}: column {column.name} depends on itself, through {', '.join(sorted(reached))}"
            )


def check_identities(where: str, columns: Sequence[Column], sources: Sequence[Source]) -> None:
    """Refuse records without ids in a list whose pages may shift unnoticed: a repeated one would become a twin."""
    for source in sources:
        if not isinstance(source, Listing) or isinstance(source.paging, OnePage):
            continue
        for column in columns:
            if column.identity is not None and not isinstance(source.paging.end, Total):
                raise DeclarationError(
                    f"{where}: column {column.name} identifies records that have no id, and {source.name} is read by "
                    f"{type(source.paging).__name__} without a Total: a record that moves to the next page meanwhile "
                    "would be two rows; write end=Total(…), or OnePage(), or use a column with an id"
                )


def check_fills(where: str, columns: Sequence[Column], sources: Sequence[Source], lists: Collection[str]) -> None:
    """Refuse a fill that a source, or one of the lists with the records, does not have."""
    lists = set(lists)
    for column in columns:
        if column.fill is Placeholder.ITEM_ID:
            for source in sources:
                if Placeholder.ITEM_ID not in source.placeholders:
                    raise DeclarationError(
                        f"{where}: column {column.name} is filled with Placeholder.ITEM_ID, which the request of "
                        f"{source.name} does not have, so that nothing says that its records are of this item"
                    )
        if isinstance(column.fill, ByList):
            for path in sorted(lists ^ set(column.fill.values)):
                problem = "but no source has" if path not in lists else "without a value for"
                raise DeclarationError(
                    f"{where}: column {column.name} is filled by list, {problem} {path!r}; write one value for each of "
                    f"{', '.join(sorted(lists))}"
                )


def check_recent(
    where: str,
    source: Recent,
    columns: Sequence[Column],
    settlement: Settlement | None,
    parts: Collection[Part],
) -> None:
    """Refuse an entity of recent days whose rows cannot be compared with a window.

    Parameters
    ----------
    parts
        Parts of a login of which its provider may say that a response lacks records.
    """
    stored = {column.name: column for column in columns if column.stored}
    for part in parts:
        _require_column(where, f"part of an error about {part.field}", part.column, stored, ColumnType.TEXT)
    _require_column(where, f"dated_by of {source.name}", source.dated_by, stored, ColumnType.DATE)
    if source.pending is not None:
        _require_column(where, f"pending of {source.name}", source.pending, stored, ColumnType.BOOLEAN)
    if source.account is not None:
        _require_column(where, f"account of {source.name}", source.account, stored, ColumnType.TEXT)
    for column in columns:
        if column.identity is not None and source.dated_by not in column.identity.columns:
            raise DeclarationError(
                f"{where}: column {column.name} identifies records without {source.dated_by}, by which {source.name} "
                "selects them, so that a twin that leaves the window would rename the others; add it to Identity"
            )
    if settlement is not None:
        if source.pending is None:
            raise DeclarationError(f"{where}: settlement is given, but {source.name} has no pending; name its column")
        for name, kind in (
            (settlement.amount, ColumnType.MONEY),
            (settlement.currency, ColumnType.TEXT),
            (settlement.account, ColumnType.TEXT),
        ):
            _require_column(where, "settlement", name, stored, kind)


def _require_column(where: str, field: str, name: str, columns: Mapping[str, Column], kind: ColumnType) -> None:
    if name not in columns or columns[name].kind is not kind:
        fitting = ", ".join(each.name for each in columns.values() if each.kind is kind)
        remedy = f"name one of {fitting}" if fitting else "declare one"
        raise DeclarationError(
            f"{where}: {field} is {name!r}, which is no stored column of ColumnType.{kind.name}; {remedy}"
        )


def _reachable(column: Column, by_name: Mapping[str, Column]) -> set[str]:
    """Return the columns that a column depends on, directly and through others."""
    reached: set[str] = set()
    frontier = set(column.uses)
    while frontier:
        reached |= frontier
        frontier = {name for each in frontier for name in by_name[each].uses} - reached
    return reached
