"""Transformation of a raw batch into typed rows, a bounded number of pages at a time.

The same raw batch and entity version always give the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from tempfile import TemporaryDirectory

from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity, RawOf
from etl.errors import PermanentError, TooManyRejects
from etl.sync.records.decoder import PageDecoder
from etl.sync.records.frames import Header
from etl.sync.records.rows import Block, Reject, build_table
from etl.sync.store import chunks, interruptions, raw_batches, rejects
from etl.sync.store.interruptions import Step, Watch
from etl.sync.store.raw_batches import RawBatch
from etl.sync.store.typed_batches import CursorMove, TypedBatch, TypedWriter

log = logging.getLogger(__name__)

BLOCK_SIZE = 10_000
"""Records after which a block is typed; it may exceed this by one page."""


def transform(entity: Entity, raw_id: int, *, db: Connection, root: UPath, typed_root: UPath | None = None) -> int:
    """Write the typed batch of a raw batch, store its rejects, and return its id.

    Parameters
    ----------
    root
        The raw root.
    typed_root
        Root of the typed batch, if it is not the raw root.

    Raises
    ------
    RawMissing
        If there is no such raw batch.
    RawCorrupt
        If it does not hold the bytes that were sealed.
    TooManyRejects
        If more than the tolerated share of its records was rejected; the rejects are stored nevertheless.
    """
    batch = raw_batches.find(db, raw_id)
    with (
        interruptions.watch(db, Step.TRANSFORM, raw_id, entity=entity.name) as watch,
        TypedBatch(typed_root or root, entity, batch).write() as writer,
    ):
        if watch.is_one_by_one:
            _try_each_login(entity, batch, watch, root=root)
        transformer = _PageTransformer(entity, batch.source, writer)
        rejected = rejects.replace(
            db,
            transformer.run(_without(watch.culprits, raw_batches.read(root, batch))),
            raw_id=raw_id,
            entity=entity.name,
            version=entity.version,
        )
        read = transformer.rows_written + rejected
        log.info("%s: raw batch %d: %d records, %d rejected", entity.name, raw_id, read, rejected)
        if rejected > max(entity.always_tolerated, entity.tolerated_rejects * read):
            raise TooManyRejects(entity.name, raw_id, rejected=rejected, read=read, tolerated=entity.tolerated_rejects)
        for account in sorted(watch.culprits):
            log.error("%s: raw batch %d: account %d: %s", entity.name, raw_id, account, interruptions.REASON)
            if not isinstance(entity.source, RawOf):
                interruptions.quarantine(db, raw_id, account, entity=entity.name)
    return raw_id


def transform_pending(entity: Entity, run_id: str, ordinal: int, *, db: Connection, root: UPath) -> int:
    """Transform the raw batches of a chunk that the entity has not loaded yet, and return its ordinal.

    A batch that cannot be transformed does not stop the others; `load_pending` raises for it after loading the others.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    chunk = chunks.find(db, entity=entity.name, run_id=run_id, ordinal=ordinal)
    for raw_id in chunks.pending_batches(db, chunk, entity=entity.name, sources=entity.sources, version=entity.version):
        try:
            transform(entity, raw_id, db=db, root=root)
        except PermanentError as error:
            log.warning("%s: raw batch %d cannot be transformed: %s", entity.name, raw_id, error)
    return ordinal


def _try_each_login(entity: Entity, batch: RawBatch, watch: Watch, *, root: UPath) -> None:
    """Type each login's pages by themselves and discard the result, so that the one that kills the process is known."""
    pages = _without(watch.culprits, raw_batches.read(root, batch))
    for account, account_pages in groupby(pages, key=lambda page: page[0].provider_account_id):
        watch.suspect(account)
        with (
            TemporaryDirectory(prefix="sluice-trial-") as folder,
            TypedBatch(UPath(folder), entity, batch).write() as writer,
        ):
            for _ in _PageTransformer(entity, batch.source, writer).run(account_pages):
                pass
    watch.suspect(None)


def _without(accounts: Collection[int], pages: Iterable[tuple[Header, bytes]]) -> Iterator[tuple[Header, bytes]]:
    """Yield the pages of all other accounts; an account without pages is not loaded, and its cursor does not move."""
    return (page for page in pages if page[0].provider_account_id not in accounts)


class _PageTransformer:
    """Transforms the pages of a batch and writes the typed rows; `rows_written` counts them."""

    def __init__(self, entity: Entity, source: str, writer: TypedWriter) -> None:
        self._decoder = PageDecoder(entity, source)
        self._entity = entity
        self._writer = writer
        self._block = Block(entity)
        self._cursor_moves: list[CursorMove] = []
        self.rows_written = 0

    def run(self, pages: Iterable[tuple[Header, bytes]]) -> Iterator[Reject]:
        """Write the typed rows of all pages and yield the rejects."""
        for line, (header, body) in enumerate(pages):
            if len(self._block) >= BLOCK_SIZE:
                yield from self._write_block(unfinished_account=header.provider_account_id)
            self._track_cursor_move(header)
            account = header.provider_account_id
            page = self._decoder.decode(body)
            yield from (Reject(account, line, fault) for fault in page.faults)
            self._block.add(page, provider_account_id=account, line=line, received_at=header.received_at)
        yield from self._write_block()

    def _track_cursor_move(self, header: Header) -> None:
        """Extend the account's cursor move to this page; the pages of an account are consecutive."""
        cursor_from = header.cursor_from
        if self._cursor_moves and self._cursor_moves[-1].provider_account_id == header.provider_account_id:
            cursor_from = self._cursor_moves.pop().cursor_from
        self._cursor_moves.append(CursorMove(header.provider_account_id, cursor_from, header.cursor_to, header.whole))

    def _write_block(self, unfinished_account: int | None = None) -> list[Reject]:
        """Write the block; keep back the cursor move of an account whose pages are not all read yet."""
        table, rejected = build_table(self._block)
        is_unfinished = self._cursor_moves and self._cursor_moves[-1].provider_account_id == unfinished_account
        unfinished_moves = [self._cursor_moves.pop()] if is_unfinished else []
        self._writer.write(table, self._cursor_moves)
        self.rows_written += table.num_rows
        self._block = Block(self._entity, first_seq=self._block.first_seq + len(self._block))
        self._cursor_moves = unfinished_moves
        return rejected
