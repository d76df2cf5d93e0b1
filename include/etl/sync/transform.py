"""Transformation of a raw batch into typed rows, a bounded number of pages at a time.

The same raw batch and entity version always give the same bytes.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.errors import PermanentError
from etl.sync.records.decoder import PageDecoder
from etl.sync.records.frames import Header
from etl.sync.records.rows import Block, Reject, build_table
from etl.sync.store import chunks, raw_batches, rejects
from etl.sync.store.typed_batches import CursorMove, TypedBatch, TypedWriter

log = logging.getLogger(__name__)

BLOCK_SIZE = 10_000
"""Records after which a block is typed; it may exceed this by one page."""

_LIST_POSITION = re.compile(r"\[\d+\]")


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
    """
    batch = raw_batches.find(db, raw_id)
    with TypedBatch(typed_root or root, entity, batch).write() as writer:
        transformer = _PageTransformer(entity, batch.source, writer)
        rejected = rejects.replace(
            db,
            transformer.run(raw_batches.read(root, batch)),
            raw_id=raw_id,
            entity=entity.name,
            version=entity.version,
        )
        read = transformer.rows_written + rejected
        log.info("%s: raw batch %d: %d records, %d rejected", entity.name, raw_id, read, rejected)
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


class _PageTransformer:
    """Transforms the pages of a batch and writes the typed rows; `rows_written` counts them."""

    def __init__(self, entity: Entity, source: str, writer: TypedWriter) -> None:
        self._decoder = PageDecoder(entity, source)
        self._entity = entity
        self._writer = writer
        self._block = Block(entity)
        self._cursor_moves: list[CursorMove] = []
        self._faults: defaultdict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
        self._read: Counter[int] = Counter()
        self.rows_written = 0

    def run(self, pages: Iterable[tuple[Header, bytes]]) -> Iterator[Reject]:
        """Write the typed rows of all pages and yield the rejects."""
        for line, (header, body) in enumerate(pages):
            if len(self._block) >= BLOCK_SIZE:
                yield from self._write_block(unfinished_account=header.provider_account_id)
            self._track_cursor_move(header)
            account = header.provider_account_id
            page = self._decoder.decode(body)
            self._read[account] += len(page.upserts) + len(page.deletes) + len(page.faults)
            yield from self._count(Reject(account, line, fault) for fault in page.faults)
            self._block.add(page, provider_account_id=account, line=line, received_at=header.received_at)
        yield from self._write_block()

    def _track_cursor_move(self, header: Header) -> None:
        """Extend the account's cursor move to this page; the pages of an account are consecutive."""
        cursor_from, generation = header.cursor_from, header.generation
        if self._cursor_moves and self._cursor_moves[-1].provider_account_id == header.provider_account_id:
            first = self._cursor_moves.pop()
            cursor_from, generation = first.cursor_from, first.generation
        move = CursorMove(header.provider_account_id, cursor_from, header.cursor_to, header.whole, generation)
        self._cursor_moves.append(move)

    def _count(self, rejects: Iterable[Reject]) -> Iterator[Reject]:
        """Yield the rejects, and count them by account, path and rule."""
        for reject in rejects:
            fault = reject.fault
            self._faults[reject.provider_account_id][_LIST_POSITION.sub("[]", fault.path), fault.rule] += 1
            yield reject

    def _with_counts(self, move: CursorMove) -> CursorMove:
        """Return the move of an account whose pages are all typed, with the counts of its records."""
        account = move.provider_account_id
        faults = self._faults.pop(account, Counter())
        path, rule = min(faults, key=lambda fault: (-faults[fault], fault)) if faults else (None, None)
        return replace(move, read=self._read.pop(account, 0), rejected=faults.total(), fault_path=path, fault_rule=rule)

    def _write_block(self, unfinished_account: int | None = None) -> list[Reject]:
        """Write the block; keep back the cursor move of an account whose pages are not all read yet."""
        table, faulty = build_table(self._block)
        rejected = list(self._count(faulty))
        is_unfinished = self._cursor_moves and self._cursor_moves[-1].provider_account_id == unfinished_account
        unfinished_moves = [self._cursor_moves.pop()] if is_unfinished else []
        self._writer.write(table, list(map(self._with_counts, self._cursor_moves)))
        self.rows_written += table.num_rows
        self._block = Block(self._entity, first_seq=self._block.first_seq + len(self._block))
        self._cursor_moves = unfinished_moves
        return rejected
