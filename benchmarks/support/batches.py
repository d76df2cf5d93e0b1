"""Raw batches of generated pages, sealed by the project's own code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from msgspec import structs
from upath import UPath

from etl.db.connection import Connection
from etl.db.statements import Statement
from etl.declare.entity import Entity
from etl.sync.records import frames
from etl.sync.store import chunks, raw_batches

Pages = Callable[[int], Iterable[bytes]]
"""Number of a login, from 0 → its pages."""

_ENROL = Statement("""
with owners as (
    insert into core.users (reference)
    select 'benchmark-' || u.existing + n
    from (select count(*) as existing from core.users) as u, generate_series(1, %(logins)s) as n
    returning user_id, reference
)
insert into core.provider_accounts (user_id, provider, item_id, access_token)
select o.user_id, 'plaid', o.reference, ''
from owners as o
order by o.user_id
returning provider_account_id
""")

_SET_SEALED_AT = Statement("update etl.raw_batches set sealed_at = %(at)s where raw_id = %(raw_id)s")


def enrol(db: Connection, logins: int) -> list[int]:
    """Add logins without a valid token, and return their provider account ids in ascending order."""
    return sorted(_ENROL.scalars(db, {"logins": logins}))


def seal(
    db: Connection,
    root: UPath,
    entity: Entity,
    accounts: Iterable[int],
    pages: Pages,
    *,
    source: str,
    at: datetime,
    cursors: tuple[str, str] | Mapping[int, tuple[str, str]] = ("", ""),
    generations: Mapping[int, int] | None = None,
    whole: bool = False,
) -> int:
    """Seal the pages of all accounts as one raw batch, received at one instant, and return its id.

    Parameters
    ----------
    source
        Name of the feed, snapshot or window that the pages come from.
    cursors
        Cursor of each account's feed before and after; one pair for all, or by account.
    generations
        Generation of each account's cursor, where it is known.
    whole
        Whether the feed of each account was read in full.
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
    header = frames.Header(
        provider_account_id=0,
        page=0,
        path="/made/up",
        request={},
        cursor_from="",
        cursor_to="",
        received_at=at,
        size=0,
        whole=whole,
    )
    page_frames = _frame_pages(accounts, pages, header, cursors=cursors, generations=generations or {})
    raw_id = raw_batches.seal(
        db, root, page_frames, source=source, chunk_id=chunk.chunk_id, attempt=chunk.attempt, opened_at=at
    )
    _SET_SEALED_AT.run(db, {"raw_id": raw_id, "at": at})
    return raw_id


def _frame_pages(
    accounts: Iterable[int],
    pages: Pages,
    header: frames.Header,
    *,
    cursors: tuple[str, str] | Mapping[int, tuple[str, str]],
    generations: Mapping[int, int],
) -> Iterator[tuple[frames.Header, bytes]]:
    for login, account in enumerate(accounts):
        cursor_from, cursor_to = cursors if isinstance(cursors, tuple) else cursors[account]
        for page, body in enumerate(pages(login)):
            yield (
                structs.replace(
                    header,
                    provider_account_id=account,
                    page=page,
                    cursor_from=cursor_from,
                    cursor_to=cursor_to,
                    generation=generations.get(account),
                    size=len(body),
                ),
                body,
            )
