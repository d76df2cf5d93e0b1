"""Migrations of the warehouse's schema, forward only, and the tables of the entities.

`include/sql/schema/` holds numbered files, each applied once, in order. A file whose first line begins with
`-- outside a transaction` is run statement by statement, for what Postgres refuses within one, such as `create index
concurrently`; a run that was cut off is repeated, so each of its statements must be repeatable. After the files, each
entity's table is brought to what the entity declares (`etl.db.tables`).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from etl.db import locks
from etl.db.connection import Connection
from etl.db.locks import LockTaken
from etl.db.statements import SQL_ROOT, StatementFile
from etl.db.tables import changes, versions
from etl.db.tables.changes import Obstacle, TablePlan
from etl.db.tables.entity_statements import EntityStatements
from etl.db.waits import WarehouseBusy
from etl.declare.entity import Entity
from etl.errors import PermanentError

SCHEMA = SQL_ROOT / "schema"
PATIENCE = timedelta(minutes=5)
"""Time for which a migration tries to get its locks."""

_OUTSIDE = b"-- outside a transaction"
_STATEMENT_END = re.compile(rb";[^\S\n]*$", re.MULTILINE)
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 15.0
_LOCK = "migrations"
_SQL = StatementFile("db/migrations")

Tell = Callable[[str], None]


class MigrationEdited(PermanentError):
    """The file of a migration is not what was applied."""

    def __init__(self, edited: Sequence[AppliedMigration]) -> None:
        files = ", ".join(f"{migration.name}.sql (applied {migration.applied_at:%Y-%m-%d})" for migration in edited)
        super().__init__(
            f"include/sql/schema: {files}: the file was edited after it was applied to this warehouse, which does not "
            "have the edit; restore the file, as by `git checkout`, and write the change as a new migration."
        )


class IndexInvalid(PermanentError):
    """An index could not be built."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"{', '.join(names)}: the index is invalid, since its build failed or goes on elsewhere; if none does, run "
            f"`drop index concurrently {names[0]};` and then `sluice migrate` again."
        )


class TableDiffers(PermanentError):
    """Tables are not as their entities declare them, and could not be changed without a decision."""

    def __init__(self, obstacles: Sequence[Obstacle]) -> None:
        lines = "".join(f"\n- {obstacle}." for obstacle in obstacles)
        super().__init__(f"these tables were left as they are, while everything else is up to date:{lines}")


@dataclass(frozen=True)
class AppliedMigration:
    """A migration that was applied to the warehouse.

    Parameters
    ----------
    name
        Its file, without the suffix.
    applied_at
        When it was applied.
    checksum
        SHA-256 of its file then; None if it was applied before checksums were kept.
    """

    name: str
    applied_at: datetime
    checksum: str | None

    def is_edited(self, folder: Path) -> bool:
        """Return whether its file has changed since; one that a later version brought is not in the folder."""
        path = folder / f"{self.name}.sql"
        return self.checksum is not None and path.exists() and _checksum(path) != self.checksum


@dataclass(frozen=True)
class Plan:
    """What a migration would do.

    Parameters
    ----------
    edited
        Migrations whose file was edited after they were applied.
    pending
        Migrations that would be applied.
    tables
        What would be done for each entity, as its table is now.
    """

    edited: list[AppliedMigration]
    pending: list[str]
    tables: list[TablePlan]

    @property
    def is_open(self) -> bool:
        """Return whether anything has to be done."""
        has_changes = any(table.changes or table.obstacles or not table.is_recorded for table in self.tables)
        return bool(self.edited or self.pending or has_changes)


def _ignore(_: str) -> None:
    pass


def plan(db: Connection, entities: Iterable[Entity], *, folder: Path = SCHEMA) -> Plan:
    """Return what `migrate` would do, without changing or locking anything."""
    applied = _find_applied(db)
    pending = _find_pending(applied, folder)
    edited = [migration for migration in applied if migration.is_edited(folder)]
    return Plan(edited, [path.stem for path in pending], [changes.plan(db, entity) for entity in entities])


def migrate(
    db: Connection,
    entities: Iterable[Entity],
    *,
    folder: Path = SCHEMA,
    patience: timedelta = PATIENCE,
    tell: Tell = _ignore,
    warn: Tell = _ignore,
) -> list[str]:
    """Bring the schema and the tables of the entities up to date.

    Only one process migrates at a time; the others wait, and then have nothing to do. A table that cannot get its lock
    within the connection's `lock_timeout` is not waited for any longer, since everybody who comes later would wait
    behind: all is rolled back and tried again.

    Parameters
    ----------
    entities
        The entities whose tables must exist.
    patience
        Time after which it gives up.
    tell, warn
        Are given a line for each change of a table, and for each wait.

    Returns
    -------
    list of str
        Names of the migrations that were applied now.

    Raises
    ------
    MigrationEdited
        Before anything is changed, if the file of an applied migration was edited.
    TableDiffers
        After everything else is up to date, if a table cannot become what is declared.
    WarehouseBusy, LockTaken
        If somebody held a lock all the time, or migrated; the first names who.
    """
    entities = list(entities)
    applied: list[str] = []
    deadline = time.monotonic() + patience.total_seconds()
    pause = _FIRST_PAUSE
    is_done = False
    while not is_done:
        try:
            is_done = _apply(db, entities, folder, applied, tell=tell)
        except (WarehouseBusy, LockTaken) as error:
            if time.monotonic() + pause > deadline:
                raise
            warn(f"waiting: {error} Trying again in {pause:.0f} s.")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
    return applied


def _apply(db: Connection, entities: Sequence[Entity], folder: Path, applied: list[str], *, tell: Tell) -> bool:
    """Apply migrations up to the next one that runs outside a transaction, or all and the tables; return if all."""
    done: list[str] = []
    lines: list[str] = []
    with db.transaction():
        locks.acquire_until_commit(db, _LOCK)
        _SQL["create_table"].run(db)
        versions.create_table(db)
        pending = _keep_checksums(db, folder)
        outside = next((path for path in pending if _is_outside(path)), None)
        for path in pending[: pending.index(outside) if outside else None]:
            db.execute(path.read_bytes())
            _record(db, path)
            done.append(path.stem)
        obstacles = [] if outside else [item for entity in entities for item in _fit_table(db, entity, lines)]
    applied += done
    for line in lines:
        tell(line)
    if outside:
        _run_outside(db, outside)
        applied.append(outside.stem)
    if obstacles:
        raise TableDiffers(obstacles)
    return outside is None


def _fit_table(db: Connection, entity: Entity, lines: list[str]) -> tuple[Obstacle, ...]:
    """Bring an entity's table to what is declared, unless something stands in the way."""
    table_plan = changes.plan(db, entity)
    if table_plan.obstacles:
        return table_plan.obstacles
    for change in table_plan.changes:
        db.execute(change.query)
    statements = EntityStatements(entity)
    if "table" in statements:
        statements["table"].run(db)
    _SQL["keep_history" if entity.history else "stop_history"].run(db, {"entity": entity.name})
    versions.record(db, entity)
    lines += [str(change) for change in table_plan.changes]
    if table_plan.needs_replay:
        lines.append(f"core.{entity.name}: `sluice replay {entity.name}` brings the rows to version {entity.version}")
    return ()


def _run_outside(db: Connection, path: Path) -> None:
    """Run the statements of a migration one by one, while no other process runs it."""
    with locks.hold(db, f"{_LOCK}.outside"):
        if any(migration.name == path.stem for migration in _find_applied(db)):
            return
        _SQL["wait_for_transactions"].run(db)
        try:
            for statement in _STATEMENT_END.split(path.read_bytes()):
                if not _is_comment(statement):
                    db.execute(statement)
        finally:
            _SQL["reset_lock_timeout"].run(db)
        if invalid := _SQL["invalid_indexes"].scalars(db):
            raise IndexInvalid(invalid)
        _record(db, path)


def _keep_checksums(db: Connection, folder: Path) -> list[Path]:
    """Refuse edited migrations, record checksums that are missing, and return the migrations to apply."""
    applied = _find_applied(db)
    if edited := [migration for migration in applied if migration.is_edited(folder)]:
        raise MigrationEdited(edited)
    for migration in applied:
        path = folder / f"{migration.name}.sql"
        if migration.checksum is None and path.exists():
            _SQL["record_checksum"].run(db, {"name": migration.name, "checksum": _checksum(path)})
    return _find_pending(applied, folder)


def _find_applied(db: Connection) -> list[AppliedMigration]:
    return _SQL["applied"].objects(db, AppliedMigration) if _SQL["exists"].scalar(db) else []


def _find_pending(applied: Sequence[AppliedMigration], folder: Path) -> list[Path]:
    names = {migration.name for migration in applied}
    return [path for path in sorted(folder.glob("*.sql")) if path.stem not in names]


def _record(db: Connection, path: Path) -> None:
    _SQL["record"].run(db, {"name": path.stem, "checksum": _checksum(path)})


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_outside(path: Path) -> bool:
    return path.read_bytes().startswith(_OUTSIDE)


def _is_comment(statement: bytes) -> bool:
    return all(not line.strip() or line.lstrip().startswith(b"--") for line in statement.splitlines())
