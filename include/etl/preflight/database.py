"""Declarations against the schema of a warehouse, which is not changed.

Postgres prepares every statement of the entities and notices. Nothing is run but the creation of the temporary tables
that a load makes, empty, in a transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from psycopg import OperationalError
from psycopg.types.json import Jsonb

from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile, path_of
from etl.db.tables.layout import create_staging_table
from etl.declare.entity import Entity
from etl.declare.fault import DeclarationFault, catalog_path
from etl.declare.notice import RECIPIENT_COLUMNS, Notice
from etl.declare.source import Recent
from etl.declare.sql_file import find_statements
from etl.declare.statements.script import Script, assemble
from etl.notify.templates import TemplateBroken, Templates
from etl.preflight.entity_scripts import composed_scripts, own_scripts
from etl.preflight.own_sql import notice_parameters
from etl.preflight.prepare import Refusal, prepare
from etl.preflight.templates import find_template_faults
from etl.sql_syntax import parse

_SQL = StatementFile("preflight/database")
_LINE_BREAK = "\n"
_AN_ID = 2**40
"""An id that takes a bigint."""
_AN_INSTANT = datetime(2026, 1, 1, tzinfo=UTC)

_SAMPLES: Mapping[str, object] = {
    **dict.fromkeys(("raw_id", "provider_account_id", "old_provider_account_id", "run_id", "after", "stop"), _AN_ID),
    **dict.fromkeys(("version", "max_shift", "max_gap", "always_tolerated", "within", "limit"), 1),
    **dict.fromkeys(("entity", "feed", "feed_of_window", "period"), ""),
    "tolerated_share": 0.1,
    "is_replay": True,
    "as_of": _AN_INSTANT,
}
"""Parameter → a value of the type that it has in a run."""

_INTEGERS = frozenset({20, 21, 23})
"""Types of Postgres, by their OIDs; see `pg_type.dat`."""

_COLUMN_SAMPLES: Mapping[int, object] = {
    **dict.fromkeys(_INTEGERS, 1),
    **dict.fromkeys((700, 701), 1.0),
    **dict.fromkeys((1114, 1184), _AN_INSTANT),
    **dict.fromkeys((25, 1042, 1043), "1"),
    16: True,
    1082: date(2026, 1, 1),
    1700: Decimal(1),
}
"""Type → a value of it for templates; what JSON and arrays hold is not known."""


class Preparation:
    """What Postgres finds in declarations.

    `faults` lists what is wrong, and `unchecked` what could not be checked, and why.

    Parameters
    ----------
    db
        The warehouse. The role needs no privilege on tables, but that to create temporary ones.
    """

    def __init__(self, db: Connection) -> None:
        self._db = db
        self.faults: list[DeclarationFault] = []
        self.unchecked: list[str] = []

    def check(self, entities: Iterable[Entity], notices: Iterable[Notice]) -> None:
        """Check declarations that have no faults by themselves."""
        may_create_tables = _SQL["may_create_temporary_tables"].scalar(self._db)
        for entity in entities:
            if may_create_tables:
                self._collect(f"entity {entity.name}", self._check_entity(entity))
            else:
                self.unchecked.append(
                    f"entity {entity.name}, whose statements need temporary tables; connect to the primary, with a "
                    "role that may create them"
                )
        for notice in notices:
            self._collect(f"notice {notice.name}", self._check_notice(notice))

    def _collect(self, what: str, faults: Iterator[DeclarationFault]) -> None:
        """Add the faults of one declaration; one that cannot be checked now does not stop the others."""
        try:
            with self._db.transaction(force_rollback=True):
                self.faults += faults
        except OperationalError as error:
            self.unchecked.append(f"{what}: {str(error).splitlines()[0]}; try again")

    def _check_entity(self, entity: Entity) -> Iterator[DeclarationFault]:
        path = catalog_path(f"entities/{entity.name}.py")
        table = f"core.{entity.name}"
        if not _SQL["has_table"].scalar(self._db, {"table": table}):
            reason = f"entity {entity.name}: {table} does not exist; run `sluice migrate`"
            yield DeclarationFault(entity.name, path, reason)
            return
        self._create_temporary_tables(entity)
        for name, script in own_scripts(entity):
            found = prepare(self._db, script, _SAMPLES)
            if isinstance(found, Refusal):
                yield _fault(entity.name, name, script, found)
            else:
                self._create_if_table(script)
        messages = set()
        for name, script in composed_scripts(entity):
            found = prepare(self._db, script, _SAMPLES)
            # A column that is missing in the table is a fault of most of them.
            if isinstance(found, Refusal) and found.message not in messages:
                messages.add(found.message)
                yield _composed_fault(entity, name, path, script, found)

    def _create_temporary_tables(self, entity: Entity) -> None:
        self._db.execute(create_staging_table(entity))
        StatementFile("sync/cursors")["create_table"].run(self._db)
        reconciliations = StatementFile("sync/reconciliations")
        recent = StatementFile("sync/recent")
        full_reads = recent if isinstance(entity.source, Recent) else reconciliations
        self._create_empty(full_reads["create_full_reads"].as_string(None))
        self._create_empty(recent["create_later_reads"].as_string(None))
        reconciliations["create_absent_rows"].run(self._db)

    def _create_if_table(self, script: Script) -> None:
        """Create the temporary table that a statement would fill, for those that read it."""
        (tree,) = parse(script.text)
        if "CreateTableAsStmt" in tree and tree["CreateTableAsStmt"]["into"]["rel"]["relpersistence"] == "t":
            self._create_empty("".join(text for text, _, _ in script.pieces))

    def _create_empty(self, text: str) -> None:
        query = f"{text.rstrip().removesuffix(';')}\nwith no data"
        # The text is that of a file of the project.
        self._db.execute(Statement(query), _SAMPLES)

    def _check_notice(self, notice: Notice) -> Iterator[DeclarationFault]:
        statements = find_statements(path_of(f"notices/{notice.name}"))
        parameters = {
            name: Jsonb(value) if isinstance(value, dict) else value for name, value in notice.parameters.items()
        }
        values = {**_SAMPLES, **parameters}
        columns: dict[str, int] = {}
        for name in ("bounds", "recipients"):
            script = assemble(name, statements)
            given = {each: values.get(each) for each in notice_parameters(notice, name)}
            found = prepare(self._db, script, given)
            if isinstance(found, Refusal):
                yield _fault(notice.name, name, script, found)
                continue
            columns = found if name == "recipients" else {}
            yield from _check_columns(notice, name, script, found)
        if columns:
            yield from _check_templates(notice, columns)


def _check_columns(notice: Notice, name: str, script: Script, found: Mapping[str, int]) -> Iterator[DeclarationFault]:
    """Yield a fault for each column that sending needs and that is missing, or has another type."""
    for column in RECIPIENT_COLUMNS if name == "recipients" else RECIPIENT_COLUMNS[:1]:
        problem = ""
        if column not in found:
            problem = f"returns no column {column}; add it"
        elif column in ("position", "user_id") and found[column] not in _INTEGERS:
            problem = f"returns {column} as another type than bigint; write `{column}::bigint`"
        if problem:
            yield DeclarationFault(notice.name, script.locate(0), f"statement {name}: it {problem}")


def _check_templates(notice: Notice, columns: Mapping[str, int]) -> Iterator[DeclarationFault]:
    """Check the templates with the columns of the audience, and render them if the type of each says enough."""
    if faults := list(find_template_faults(notice, columns)):
        yield from faults
        return
    if not _COLUMN_SAMPLES.keys() >= set(columns.values()):
        return
    row = {name: _COLUMN_SAMPLES[type_] for name, type_ in columns.items()}
    values = {**notice.parameters, "period": "", "as_of": _AN_INSTANT, **row}
    templates = Templates(notice)
    for channel in notice.channels:
        try:
            templates.render(channel, values)
        except TemplateBroken as error:
            reason = str(error).removeprefix(f"{error.location}: ")
            yield DeclarationFault(notice.name, error.location, f"notice {notice.name}: {reason}")


def _fault(owner: str, name: str, script: Script, refusal: Refusal) -> DeclarationFault:
    location = script.locate(refusal.position or 0)
    reason = f"statement {name}: {refusal.message}; fix it, or run `sluice migrate` if the schema is older"
    return DeclarationFault(owner, location, reason)


def _composed_fault(entity: Entity, name: str, path: str, script: Script, refusal: Refusal) -> DeclarationFault:
    near = ""
    if refusal.position is not None:
        lines = script.text.splitlines()
        near = f", near `{lines[script.text[: refusal.position].count(_LINE_BREAK)].strip()}`"
    reason = (
        f"entity {entity.name}: the composed statement {name}: {refusal.message}{near}; run `sluice migrate`, or fix "
        "what the declaration or its SQL file says"
    )
    return DeclarationFault(entity.name, path, reason)
