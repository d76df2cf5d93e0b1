"""The core table that an entity's declaration asks for: its columns, its key, and whether it has partitions."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL, Composed, Identifier

from etl.declare.entity import PROVIDER_ACCOUNT, ColumnType, Entity
from etl.declare.source import RawOf, Recent, Snapshot

TOMBSTONE_COLUMN = "removed_at"
"""Column of a tombstone: when the provider was seen to have removed the row."""

CLOSING_COLUMN = "closed_on"
"""Column of the day on which a snapshot no longer had the row."""

SETTLEMENT_COLUMN = "posted_as"
"""Column of a pending row that was settled: the key of the posted row that it became."""

OUTDATED_COLUMN = "outdated_at"
"""Column of the time at which a newer record of the row was rejected."""

_INSTANT = "timestamp with time zone"
_TYPES = {ColumnType.INSTANT: _INSTANT}
"""Types that Postgres names differently when it is asked."""

_REFERENCES = {PROVIDER_ACCOUNT: "core.provider_accounts", "raw_id": "etl.raw_batches"}


@dataclass(frozen=True)
class TableColumn:
    """A column of a core table.

    Parameters
    ----------
    name
        Its name.
    type
        Its type, as `format_type` of Postgres names it.
    is_required
        Whether it is `not null`.
    comment
        What it holds; empty if nothing says so.
    """

    name: str
    type: str
    is_required: bool
    comment: str = ""


def has_logins(entity: Entity) -> bool:
    """Return whether each row belongs to a login."""
    return PROVIDER_ACCOUNT in entity.key


def has_tombstones(entity: Entity) -> bool:
    """Return whether the entity's table keeps tombstones: its source reports removals, or is a list of recent days."""
    return isinstance(entity.source, Recent) or any(removals for _, removals in entity.sources.values())


def has_closing_day(entity: Entity) -> bool:
    """Return whether a row is closed once its login's snapshot lacks it."""
    return isinstance(entity.source, Snapshot) and not isinstance(entity.source, Recent) and has_logins(entity)


def end_column(entity: Entity) -> str | None:
    """Return the name of the column that tells that a row ended; None if rows of the entity never end."""
    if has_tombstones(entity):
        return TOMBSTONE_COLUMN
    return CLOSING_COLUMN if has_closing_day(entity) else None


def may_be_outdated(entity: Entity) -> bool:
    """Return whether a row is marked while a newer record of it is rejected."""
    return has_logins(entity) and not isinstance(entity.source, RawOf)


def is_partitioned(entity: Entity) -> bool:
    """Return whether its table has hash partitions, and checks references once per statement.

    That of a feed or of a list of recent days has them, which grows with time.
    """
    return (entity.feed_name is not None or isinstance(entity.source, Recent)) and has_logins(entity)


def declared_names(entity: Entity) -> tuple[str, ...]:
    """Return the names of the columns whose values records bring."""
    names = tuple(column.name for column in entity.stored_columns)
    return (PROVIDER_ACCOUNT, *names) if has_logins(entity) else names


def table_columns(entity: Entity) -> tuple[TableColumn, ...]:
    """Return the columns that the entity's table must have; further ones are left alone."""
    columns = [
        TableColumn(column.name, _TYPES.get(column.kind, column.kind.value), column.required, column.summary)
        for column in entity.stored_columns
    ]
    if has_logins(entity):
        columns.insert(0, TableColumn(PROVIDER_ACCOUNT, "bigint", is_required=True))
    if has_tombstones(entity):
        at = "When the removal by the provider was observed; the row stays as a tombstone."
        columns += [
            TableColumn(TOMBSTONE_COLUMN, _INSTANT, is_required=False, comment=at),
            TableColumn("removed_for", "text", is_required=False, comment=_describe_removals(entity)),
        ]
    if entity.settlement is not None:
        posted_as = "Key of the posted row that the pending one became; null unless it is removed for `posted`."
        columns.append(TableColumn(SETTLEMENT_COLUMN, "text", is_required=False, comment=posted_as))
    if has_closing_day(entity):
        closed_on = "UTC day of the snapshot that no longer had the row; null while it is open."
        columns.append(TableColumn(CLOSING_COLUMN, "date", is_required=False, comment=closed_on))
    if may_be_outdated(entity):
        outdated = "When a newer record of the row was observed that was rejected; null while the row is up to date."
        columns.append(TableColumn(OUTDATED_COLUMN, _INSTANT, is_required=False, comment=outdated))
    observed = "When the current values, or the end of the row, were observed."
    return (
        *columns,
        TableColumn("observed_at", _INSTANT, is_required=True, comment=observed),
        TableColumn("raw_id", "bigint", is_required=True, comment="The raw batch that holds the record as sent."),
    )


def core_table(entity: Entity) -> Identifier:
    """Return the name of an entity's core table."""
    return Identifier("core", entity.name)


def same_key_condition(entity: Entity, one: str, other: str) -> Composed:
    """Return the SQL condition that rows of two tables, given by their aliases, have the same key."""
    return SQL(" and ").join(
        SQL("{} = {}").format(Identifier(one, name), Identifier(other, name)) for name in entity.key
    )


def create_staging_table(entity: Entity) -> Composed:
    """Return the statement that creates the temporary table `incoming`, of the records that a merge gets."""
    declared = SQL(", ").join(
        SQL("{} {}").format(Identifier(column.name), SQL(column.kind.value)) for column in entity.stored_columns
    )
    return SQL(
        "create temp table incoming "
        "(seq bigint, {account} bigint, removed boolean, observed_at timestamptz, {declared}) on commit drop"
    ).format(account=Identifier(PROVIDER_ACCOUNT), declared=declared)


def column_definition(entity: Entity, column: TableColumn) -> Composed:
    """Return a column as `create table` takes it."""
    parts = [Identifier(column.name), SQL(column.type)]
    if column.is_required:
        parts.append(SQL("not null"))
    if column.name in _REFERENCES and not is_partitioned(entity):
        parts.append(SQL(f"references {_REFERENCES[column.name]}"))
    return SQL(" ").join(parts)


def _describe_removals(entity: Entity) -> str:
    if isinstance(entity.source, Recent):
        settled = "; `posted` if it was pending, and became the row with the key `posted_as`"
        absent = "`absent` if the list of recent days did not contain it any more"
        return f"{absent}{settled if entity.settlement else ''}."
    posted = "`posted` if a later record replaced it, as a posted transaction replaces a pending one; "
    absent = "`absent` if the feed did not contain it any more when it was read again from its beginning; "
    replaced = "`replaced` if its login was linked again, and the later login has it; "
    return f"{posted if entity.replaces else ''}{absent}{replaced if has_logins(entity) else ''}else `withdrawn`."
