"""SQL as Postgres' own parser reads it: faults of syntax, and the columns that statements return and write.

The parser is that of Postgres 17 (libpg_query); it knows no tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_PLACE = re.compile(r"%(?:\((\w+)\)[sbt]|%|.?)", re.DOTALL)
"""Whatever psycopg takes for a parameter, and a percent sign that it would refuse."""


class SqlInvalid(ValueError):
    """A text is no SQL.

    Parameters
    ----------
    message
        What the parser says.
    position
        Index of the character at which it says so.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


@dataclass(frozen=True)
class Write:
    """Columns of a table that a statement, or a part of it, writes.

    Parameters
    ----------
    inserted
        Columns of an insert; empty if it does not list them, and None if it inserts nothing.
    assigned
        Columns of an update; None if it updates nothing.
    """

    inserted: tuple[str, ...] | None = None
    assigned: tuple[str, ...] | None = None


def number_parameters(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a statement with `$1` in place of `%(name)s`, as Postgres gets it, and the names by their number.

    Every character that stays keeps its index, and every line its number.

    Raises
    ------
    SqlInvalid
        If a `%` is neither a parameter nor doubled.
    """
    names: dict[str, int] = {}

    def replace(place: re.Match[str]) -> str:
        found = place[0]
        if place[1] is not None:
            return f"${names.setdefault(place[1], len(names) + 1)}".ljust(len(found))
        if found == "%%":
            return "% "
        raise SqlInvalid(
            f"{found.strip()!r} is no parameter; write %(name)s for a value, and %% for a percent sign", place.start()
        )

    return _PLACE.sub(replace, text), tuple(names)


def parse(text: str) -> list[Any]:
    """Return the trees of the statements of a text, as libpg_query describes them in JSON.

    Raises
    ------
    SqlInvalid
        If it is no SQL.
    """
    import pgparse  # Of 11 MB, and most processes that import a catalogue parse nothing.

    try:
        trees: list[Any] = pgparse.parse(text)
    except pgparse.PGQueryError as error:
        raise SqlInvalid(error.message, max(error.position - 1, 0)) from None
    return [each["stmt"] for each in trees]


def returned_columns(tree: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the columns that a query returns; None if the text alone does not tell, as with a `*`."""
    query = tree.get("SelectStmt")
    if query is None:
        return None
    while "larg" in query:
        query = query["larg"]
    if "targetList" not in query:
        return None
    names = [_column_name(target["ResTarget"]) for target in query["targetList"]]
    return None if None in names else tuple(name for name in names if name is not None)


def find_writes(tree: object, table: str, *, schema: str) -> Iterator[Write]:
    """Yield what the parts of a statement write to a table."""
    if isinstance(tree, list):
        for part in tree:
            yield from find_writes(part, table, schema=schema)
    elif isinstance(tree, dict):
        for kind, node in tree.items():
            relation = node.get("relation", {}) if kind in _WRITES else {}
            if relation.get("relname") == table and relation.get("schemaname", schema) == schema:
                yield from _WRITES[kind](node)
            yield from find_writes(node, table, schema=schema)


def _insert(node: Mapping[str, Any]) -> Iterator[Write]:
    yield Write(inserted=_targets(node.get("cols", ())))
    if "targetList" in (conflict := node.get("onConflictClause", {})):
        yield Write(assigned=_targets(conflict["targetList"]))


def _update(node: Mapping[str, Any]) -> Iterator[Write]:
    yield Write(assigned=_targets(node["targetList"]))


def _merge(node: Mapping[str, Any]) -> Iterator[Write]:
    for when in (each["MergeWhenClause"] for each in node["mergeWhenClauses"]):
        if when["commandType"] == "CMD_INSERT":
            yield Write(inserted=_targets(when.get("targetList", ())))
        elif when["commandType"] == "CMD_UPDATE":
            yield Write(assigned=_targets(when["targetList"]))


_WRITES = {"InsertStmt": _insert, "UpdateStmt": _update, "MergeStmt": _merge}


def _targets(nodes: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    return tuple(node["ResTarget"]["name"] for node in nodes)


def _column_name(target: Mapping[str, Any]) -> str | None:
    """Return the name that Postgres gives to a column of a query; None if it is a `*`.

    Source: Postgres, `FigureColname` in src/backend/parser/parse_target.c.
    """
    return target["name"] if "name" in target else _figure_name(target.get("val", {}))


def _figure_name(value: Mapping[str, Any]) -> str | None:
    ((kind, node),) = value.items()
    name: str | None = _NAMES.get(kind)
    if kind == "ColumnRef":
        name = node["fields"][-1].get("String", {}).get("sval")
    elif kind == "FuncCall":
        name = node["funcname"][-1]["String"]["sval"]
    elif kind == "TypeCast":
        inner = _figure_name(node["arg"])
        name = node["typeName"]["names"][-1]["String"]["sval"] if inner == _UNNAMED else inner
    elif kind == "SubLink" and node["subLinkType"] == "EXPR_SUBLINK":
        name = next(iter(returned_columns(node["subselect"]) or ()), None)
    elif kind == "SubLink":
        name = _SUBLINK_NAMES.get(node["subLinkType"])
    elif kind == "MinMaxExpr":
        name = node["op"].removeprefix("IS_").lower()
    elif kind == "A_Expr":
        name = "nullif" if node["kind"] == "AEXPR_NULLIF" else _UNNAMED
    return name


_UNNAMED = "?column?"
_NAMES = {
    "CoalesceExpr": "coalesce",
    "CaseExpr": "case",
    "A_ArrayExpr": "array",
    "RowExpr": "row",
    **dict.fromkeys(("A_Const", "BoolExpr", "NullTest", "BooleanTest", "ParamRef"), _UNNAMED),
}
_SUBLINK_NAMES = {
    "EXISTS_SUBLINK": "exists",
    "ARRAY_SUBLINK": "array",
    "ANY_SUBLINK": _UNNAMED,
    "ALL_SUBLINK": _UNNAMED,
}
