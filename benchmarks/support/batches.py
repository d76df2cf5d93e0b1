"""Raw batches made up by a benchmark, sealed and typed by the project's own steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from msgspec import structs
from psycopg.rows import scalar_row
from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.sync.records import frames
from etl.sync.store import chunks, raw_batches

Pages = Callable[[int], Iterable[bytes]]
"""A login's number, from 0 → its pages."""

_ENROL = """
with owners as (
    insert into core.users (reference)
    select 'benchmark-' || u.known + n
    from (select count(*) as known from core.users) as u, generate_series(1, %(logins)s) as n
    returning user_id, reference
)
insert into core.provider_accounts (user_id, provider, item_id, access_token)
select o.user_id, 'plaid', o.reference, ''
from owners as o
order by o.user_id
returning provider_account_id
"""


def enrol(db: Connection, logins: int) -> list[int]:
    """Add logins whose tokens nobody will ever need, and return their provider account ids."""
    with db.cursor(row_factory=scalar_row) as cursor:
        return sorted(cursor.execute(_ENROL, {"logins": logins}).fetchall())


def seal(
    db: Connection,
    root: UPath,
    entity: Entity,
    accounts: Iterable[int],
    pages: Pages,
    *,
    source: str,
    at: datetime,
    cursors: tuple[str, str] = ("", ""),
) -> int:
    """Seal the pages of all accounts as one batch, received at one instant, and return its id.

    Parameters
    ----------
    source
        Name of the feed, snapshot or window that the pages are of.
    cursors
        Where each account's feed stood before and after.
    """
    run = f"{entity.name} of {source} {at.isoformat()}"
    provider = entity.provider.name
    chunks.plan_account_chunks(
        db,
        entity=entity.name,
        run_id=run,
        provider=provider,
        days=None,
        page_size=1,
        size=1 << 30,
        maximum=1,
    )
    chunk = chunks.open_attempt(db, entity=entity.name, run_id=run, ordinal=0)
    framed = _frame_pages(accounts, pages, at=at, cursors=cursors)
    return raw_batches.seal(db, root, framed, source=source, chunk_id=chunk.chunk_id, attempt=chunk.attempt)


def _frame_pages(
    accounts: Iterable[int], pages: Pages, *, at: datetime, cursors: tuple[str, str]
) -> Iterator[tuple[frames.Header, bytes]]:
    cursor_from, cursor_to = cursors
    for login, account in enumerate(accounts):
        header = frames.Header(
            provider_account_id=account,
            page=0,
            path="/made/up",
            request={},
            cursor_from=cursor_from,
            cursor_to=cursor_to,
            received_at=at,
            size=0,
        )
        for page, body in enumerate(pages(login)):
            yield structs.replace(header, page=page, size=len(body)), body
