"""Migrations of the warehouse's schema, forward only.

`include/sql/schema/` holds numbered files, each applied once, in order. After them the tables of the entities are
created where they are missing; their statements stand beside the merges in `include/sql/entities/`. Entities that
declare it also get a history: a table of the superseded versions of their rows.
"""

from collections.abc import Iterable

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import SQL_ROOT, StatementFile, statement
from etl.declare.entity import Entity

_SQL = StatementFile("db/migrations")


def migrate(db: Connection, entities: Iterable[Entity]) -> list[str]:
    """Bring the schema up to date, in one transaction.

    Only one process migrates at a time; the others wait, and then have nothing to do. One that waits too long raises
    `WarehouseBusy`.

    Parameters
    ----------
    entities
        The entities whose tables must exist.

    Returns
    -------
    list of str
        Names of the migrations that were applied now.
    """
    with db.transaction():
        locks.acquire_until_commit(db, "migrations")
        _SQL["create_table"].run(db)
        applied = set(_SQL["applied"].scalars(db))
        pending = [path for path in sorted((SQL_ROOT / "schema").glob("*.sql")) if path.stem not in applied]
        for path in pending:
            db.execute(path.read_bytes())
            _SQL["record"].run(db, {"name": path.stem})
        for entity in entities:
            statement(f"entities/{entity.name}", "table").run(db)
            _SQL["keep_history" if entity.history else "stop_history"].run(db, {"entity": entity.name})
    return [path.stem for path in pending]
