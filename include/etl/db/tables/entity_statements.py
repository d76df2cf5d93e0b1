"""The statements that merge an entity's records and end its rows, composed from its declaration.

`include/sql/entities/templates/` has their text. An entity may have an SQL file of its own, with statements that only
it needs, and with those that it wants otherwise: a statement there takes the place of the composed one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from etl.db.statements import Statement, StatementFile, path_of, statements
from etl.db.tables.layout import (
    CLOSING_COLUMN,
    SETTLEMENT_COLUMN,
    core_table,
    declared_names,
    has_closing_day,
    has_logins,
    has_tombstones,
    is_partitioned,
    may_be_outdated,
    same_key_condition,
)
from etl.declare.entity import PROVIDER_ACCOUNT, ColumnType, Entity

_MERGE = StatementFile("entities/templates/merge")
_ENDS = StatementFile("entities/templates/ends")
_NOTHING = SQL("")
_REVIVES_ABSENT = """,
    removed_at = case when target.removed_for is distinct from 'absent' then target.removed_at end,
    removed_for = nullif(target.removed_for, 'absent'),
    observed_at = case when target.removed_for = 'absent' then r.observed_at else target.observed_at end,
    raw_id = case when target.removed_for = 'absent' then %(raw_id)s else target.raw_id end"""
_IN_LOGINS_OF_REMOVALS = """
        and target.provider_account_id = any(array(select o.provider_account_id from removals as o))"""
_LINE = ",\n        "
_INCOMING = re.compile(r"\bincoming\b")
_COMMENT = re.compile(r"--.*")
_NEEDS_NO_NEW_LOGINS = "needs no rows of new logins"
"""In the comment of a statement that names `incoming`, and does the same if rows of new logins are not there."""


class EntityStatements:
    """The statements of an entity by name: those of its own file, and the composed ones that its file does not have."""

    def __init__(self, entity: Entity) -> None:
        self._entity = entity
        self._own = _find_own(entity)

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in _composed_names(self._entity)

    def __getitem__(self, name: str) -> Statement:
        if name in self._own:
            return self._own[name]
        template = "remove_replaced" if name == "remove" and _may_hold(self._entity) else name
        parts = _key_parts(self._entity) | _mark_parts(self._entity) | _settlement_parts(self._entity)
        if template == "merge":
            parts |= _merge_parts(self._entity) | {"existing": self._existing(), "closing": self._closing()}
        file = _MERGE if template in _MERGE else _ENDS
        return Statement(file[template].format(**parts).as_string(None))

    @property
    def names(self) -> Set[str]:
        """Names of all its statements."""
        return self._own.keys() | _composed_names(self._entity)

    @property
    def own(self) -> Set[str]:
        """Names of those that are not composed."""
        return self._own.keys()

    @property
    def readers_of_new_logins(self) -> Set[str]:
        """Names of those that read `incoming`, and whose comment does not say that they need no rows of new logins."""
        texts = {name: statement.as_string(None) for name, statement in self._own.items()}
        return {
            name
            for name, text in texts.items()
            if _INCOMING.search(_COMMENT.sub("", text)) and _NEEDS_NO_NEW_LOGINS not in text
        }

    def _existing(self) -> SQL:
        """Return the look-up of a record's row; one that the caller chooses where there are two."""
        return SQL("{existing}") if is_partitioned(self._entity) else _as_part(self["existing_by_key"])

    def _closing(self) -> Composable:
        """Return the join with the day on which a record's row is closed, of a snapshot."""
        if not has_closing_day(self._entity):
            return _NOTHING
        return SQL("\n    left join lateral (\n        {}    ) as e on true").format(_as_part(self["closed_on"]))


def record_id(entity: Entity, table: str) -> Composed:
    """Return the key of a row as rejects name it; see `etl.sync.records.identity`."""
    return SQL(" || chr(31) || ").join(
        SQL("{}::text").format(Identifier(table, name)) for name in entity.key if name != PROVIDER_ACCOUNT
    )


def in_part(entity: Entity) -> Composable:
    """Return the condition that a gap `g` concerns a row `c`: the row is of its part of the login, or may be."""
    texts = {column.name for column in entity.stored_columns if column.kind is ColumnType.TEXT}
    columns = texts.intersection(part.column for part in entity.provider.parts)
    cases = [
        SQL("when {} then coalesce(g.part = c.{}, true)").format(Literal(column), Identifier(column))
        for column in sorted(columns)
    ]
    return SQL("case g.part_column {} else true end").format(SQL(" ").join(cases)) if cases else SQL("true")


def _find_own(entity: Entity) -> dict[str, Statement]:
    file = f"entities/{entity.name}"
    return statements(file) if path_of(file).exists() else {}


def _composed_names(entity: Entity) -> Set[str]:
    """Return the names of the statements that are composed for an entity."""
    names = {"merge"}
    if is_partitioned(entity):
        names |= {"existing_by_key", "existing_of_accounts"}
    if has_tombstones(entity):
        names |= {"remove"}
    if has_tombstones(entity) and has_logins(entity):
        names |= {"count_live", "close_absent", "restore_absent"}
    if has_tombstones(entity) and _may_hold(entity):
        names |= {"close_held"}
    if may_be_outdated(entity):
        names |= {"mark_outdated"}
    if has_closing_day(entity):
        names |= {"close_missing", "count_open"}
    return names


def _may_hold(entity: Entity) -> bool:
    """Return whether the end of a row may wait for a later record that was rejected."""
    return entity.replaces is not None and has_logins(entity)


def _key_parts(entity: Entity) -> dict[str, Composable]:
    """Return the names of the entity, its table and its key, by themselves and as conditions."""
    return {
        "table": core_table(entity),
        "entity": Literal(entity.name),
        "key": _names(entity.key),
        "incoming_key": _names(entity.key, "i"),
        "existing_key": _names(entity.key, "c"),
        "differing_key": _names(entity.key, "d"),
        "missing_key": _names(entity.key, "r"),
        "target_key": _names(entity.key, "target"),
        "same_key_as_k": same_key_condition(entity, "k", "i"),
        "same_key_as_c": same_key_condition(entity, "c", "i"),
        "same_key_as_r": same_key_condition(entity, "target", "r"),
        "in_logins_of_removals": SQL(_IN_LOGINS_OF_REMOVALS) if has_logins(entity) else _NOTHING,
        "own_key": Identifier(entity.key_columns[0].name) if entity.key_columns else _NOTHING,
        "replaces": Identifier(entity.replaces) if entity.replaces else _NOTHING,
        "target_record_id": record_id(entity, "target"),
        "existing_record_id": record_id(entity, "c"),
        "in_part": in_part(entity),
    }


def _mark_parts(entity: Entity) -> dict[str, Composable]:
    """Return what a removal does to the mark of a row that a rejected record outdates, and what marking it does."""
    if not may_be_outdated(entity):
        return {"or_is_outdated": _NOTHING, "removal_clears_mark": _NOTHING, "revives_absent": _NOTHING}
    clears = "\n        outdated_at = case when target.outdated_at > r.observed_at then target.outdated_at end,"
    return {
        "or_is_outdated": SQL(" or c.outdated_at <= i.observed_at"),
        "removal_clears_mark": SQL(clears),
        "revives_absent": SQL(_REVIVES_ABSENT) if has_tombstones(entity) else _NOTHING,
    }


def _settlement_parts(entity: Entity) -> dict[str, Composable]:
    """Return what brings a row back that ended as the pending one of a posted row."""
    if entity.settlement is None:
        return {"restored_reasons": SQL("('absent')"), "restoring_unsettles": _NOTHING}
    unsettles = SQL("\n    {} = null,").format(Identifier(SETTLEMENT_COLUMN))
    return {"restored_reasons": SQL("('absent', 'posted')"), "restoring_unsettles": unsettles}


def _merge_parts(entity: Entity) -> dict[str, Composable]:
    """Return the columns of the merge, when it updates a row, and by what."""
    names = declared_names(entity)
    values = [name for name in names if name not in entity.key]
    incoming: list[Composable] = [Identifier("i", name) for name in names]
    needs_update: list[Composable] = []
    assignments: list[Composable] = [_assign(name) for name in values]
    if has_closing_day(entity):
        names = (*names, CLOSING_COLUMN)
        day = "case when e.closed_on is not null then coalesce(c.closed_on, e.closed_on) end as closed_on"
        incoming.append(SQL(day))
        needs_update.append(SQL("(c.closed_on is null) <> (e.closed_on is null)"))
        assignments.append(_assign(CLOSING_COLUMN))
    if has_tombstones(entity):
        needs_update.append(SQL("c.removed_at is not null"))
        assignments += [SQL("removed_at = null"), SQL("removed_for = null")]
    if entity.settlement is not None:
        assignments.append(SQL("{} = null").format(Identifier(SETTLEMENT_COLUMN)))
    if may_be_outdated(entity):
        needs_update.append(SQL("c.outdated_at <= i.observed_at"))
        mark = "outdated_at = case when target.outdated_at > excluded.observed_at then target.outdated_at end"
        assignments.append(SQL(mark))
    if values:
        needs_update.append(SQL("({}) is distinct from ({})").format(_names(values, "i"), _names(values, "c")))
    return {
        "columns": _names(names, separator=_LINE),
        "incoming_columns": SQL(_LINE).join(incoming),
        "differing_columns": _names(names, "d", separator=_LINE),
        "needs_update": SQL("\n            or ").join(needs_update or [SQL("false")]),
        "assignments": SQL(_LINE).join([*assignments, _assign("observed_at"), _assign("raw_id")]),
        **_order_parts(entity),
    }


def _order_parts(entity: Entity) -> dict[str, Composable]:
    """Return the conditions that an existing row is newer than a record, and that it is not."""
    if entity.newest_by is None:
        unless_newer = SQL("\n    where target.observed_at <= excluded.observed_at")
        return {"is_newer": SQL("c.observed_at > i.observed_at"), "unless_newer": unless_newer}
    kinds = {column.name: column.kind for column in entity.stored_columns}
    observed = (
        "({0}.observed_at at time zone 'utc')::date"
        if kinds[entity.newest_by] is ColumnType.DATE
        else "{0}.observed_at"
    )
    # A time after its observation counts as that, so that no record stays the newest by a date in the future.
    age = SQL("least(coalesce({0}.{1}, '-infinity'), " + observed + ")")
    is_newer = SQL("c.raw_id <> %(raw_id)s and ({}, c.observed_at, c.raw_id) > ({}, i.observed_at, %(raw_id)s)").format(
        *(age.format(SQL(table), Identifier(entity.newest_by)) for table in ("c", "i"))
    )
    return {"is_newer": is_newer, "unless_newer": _NOTHING}


def _names(names: Iterable[str], table: str | None = None, *, separator: str = ", ") -> Composed:
    return SQL(separator).join(Identifier(table, name) if table else Identifier(name) for name in names)


def _assign(name: str) -> Composed:
    return SQL("{0} = excluded.{0}").format(Identifier(name))


def _as_part(statement: Statement) -> SQL:
    """Return a statement as a part of another one; the line break ends a comment in its last line."""
    return SQL(statement.as_string(None).strip().removesuffix(";") + "\n")
