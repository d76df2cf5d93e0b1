"""Lists of recent days, in place of a feed of changes: their windows, and the rows that vanish from them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import date, timedelta
from typing import Any

from psycopg.sql import SQL, Composable, Identifier

from etl.chunking import DayRange
from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile
from etl.db.tables.entity_statements import EntityStatements, in_part, record_id
from etl.db.tables.layout import core_table, same_key_condition
from etl.declare.entity import Entity
from etl.declare.source import Recent
from etl.sync.store import reconciliations

OVERLAP = timedelta(days=7)
"""Time before the end of the latest window at which the next one begins, however long ago that was."""

REMEMBERED = timedelta(days=60)
"""Time for which it is remembered which days a batch had; no batch is loaded later than that after another."""

_SQL = StatementFile("sync/recent")

log = logging.getLogger(__name__)


class RecentStatements:
    """The statements of an entity, and those of `sync/recent.sql` for its table and columns that it has not itself.

    Parameters
    ----------
    entity
        The entity.
    source
        Its source.
    """

    def __init__(self, entity: Entity, source: Recent) -> None:
        self._own = EntityStatements(entity)
        settlement = entity.settlement
        is_pending = SQL("c.{}").format(Identifier(source.pending)) if source.pending else SQL("false")
        account = Identifier(source.account) if source.account else None
        self._parts: dict[str, Composable] = {
            "core": core_table(entity),
            "record_id": record_id(entity, "c"),
            "other_record_id": record_id(entity, "k"),
            "same_key": same_key_condition(entity, "i", "c"),
            "dated_by": Identifier(source.dated_by),
            "pending": is_pending,
            "account": SQL("''") if account is None else SQL("coalesce(c.{}, '')").format(account),
            "incoming_account": SQL("''") if account is None else SQL("coalesce(i.{}, '')").format(account),
            "incoming_pending": SQL("i.{}").format(Identifier(source.pending)) if source.pending else SQL("false"),
            "in_part": in_part(entity),
        }
        if settlement is not None and source.pending is not None:
            self._parts |= {
                "account_column": Identifier(settlement.account),
                "amount": Identifier(settlement.amount),
                "currency": Identifier(settlement.currency),
                "pending_column": Identifier(source.pending),
            }

    def __getitem__(self, name: str) -> Statement:
        if name in (self._own.own if name in _SQL else self._own):
            return self._own[name]
        # The text is that of the file, and identifiers of a declaration, which psycopg quotes.
        return Statement(_SQL[name].format(**self._parts).as_string(None))


def windows(
    db: Connection, source: Recent, provider_account_ids: Collection[int], *, today: date
) -> dict[int, DayRange]:
    """Return the days that a run reads of each login: the last days, and those since the latest windows before.

    Parameters
    ----------
    today
        The last day, in UTC, by the clock of the warehouse.
    """
    values = {"source": source.name, "provider_account_ids": list(provider_account_ids)}
    read: dict[int, tuple[date, date | None]] = {
        login: (latest, complete) for login, latest, complete in _SQL["latest_reads"].rows(db, values)
    }
    return {login: window(source, *read.get(login, (None, None)), today=today) for login in provider_account_ids}


def window(source: Recent, latest: date | None, complete: date | None, *, today: date) -> DayRange:
    """Return the days that are read of a login.

    Parameters
    ----------
    latest
        The last day of the latest window that was loaded; None if none was.
    complete
        That of the latest one of which no response lacked records; None if none was. Since a part of a login may be
        broken for ever, it makes the window no longer than the first one was.
    """
    longest = today - timedelta(days=(source.first_days or source.days) - 1)
    if latest is None:
        return DayRange(longest, today)
    lacking = longest if complete is None else max(longest, complete - OVERLAP)
    return DayRange(min(today - timedelta(days=source.days - 1), latest - OVERLAP, lacking), today)


def drop_read_later(db: Connection, entity: Entity, source: Recent, *, raw_id: int, is_replay: bool) -> int:
    """Drop the staged records of days that were read later and loaded before, and return their number."""
    _SQL["drop_later_reads"].run(db)
    _SQL["create_later_reads"].run(db, {"raw_id": raw_id})
    return RecentStatements(entity, source)["drop_read_later"].run(db, {"raw_id": raw_id, "is_replay": is_replay})


def end_absent(db: Connection, entity: Entity, source: Recent, *, raw_id: int) -> list[tuple[Any, ...]]:
    """End the rows that vanished from the staged windows, as far as reconciliations allow, and return their keys.

    Pending rows among them are linked to the posted rows that they became, if the entity declares how these are found.
    """
    _SQL["record_reads"].run(db, {"source": source.name, "raw_id": raw_id})
    _SQL["forget_reads"].run(db, {"source": source.name, "patience": REMEMBERED})
    statements = RecentStatements(entity, source)
    keys = reconciliations.close_absent(
        db, entity, statements, raw_id=raw_id, create_full_reads=_SQL["create_full_reads"]
    )
    if keys:
        log.info("%s: raw batch %d: %d rows ended that vanished from their window", entity.name, raw_id, len(keys))
    if entity.settlement is not None:
        # Whole days, as Postgres adds them to a date.
        settled = statements["settle"].run(db, {"within": entity.settlement.within.days, "raw_id": raw_id})
        if settled:
            log.info("%s: raw batch %d: %d rows were pending and are posted now", entity.name, raw_id, settled)
    return keys
