"""Transformation of a raw batch into typed rows, a bounded number of pages at a time.

The same raw batch and entity version always give the same bytes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from tempfile import TemporaryDirectory

from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity, RawOf
from etl.errors import PermanentError
from etl.sync.records.blocks import Block
from etl.sync.records.decoder import PageDecoder
from etl.sync.records.faults import RecordFault, WarningTally
from etl.sync.records.frames import Header
from etl.sync.records.rows import Reject, build_table
from etl.sync.store import chunks, field_warnings, interruptions, raw_batches
from etl.sync.store.interruptions import Step, Watch
from etl.sync.store.raw_batches import RawBatch
from etl.sync.store.typed_batches import CursorMove, TypedBatch, TypedWriter

log = logging.getLogger(__name__)

BLOCK_SIZE = 10_000
"""Records after which a block is typed; it may exceed this by one page."""


def transform(entity: Entity, raw_id: int, *, db: Connection, root: UPath, typed_root: UPath | None = None) -> int:
    """Write the typed batch of a raw batch, store its field warnings, and return its id.

    The typed batch holds the good rows and the rejects of every login, however many were rejected: the load decides
    which logins it holds back, and whose rejects count.

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
    with (
        interruptions.watch(db, Step.TRANSFORM, raw_id, entity=entity.name) as watch,
        TypedBatch(typed_root or root, entity, batch).write() as writer,
    ):
        for account in sorted(watch.culprits):
            log.error("%s: raw batch %d: account %d: %s", entity.name, raw_id, account, interruptions.REASON)
            if not isinstance(entity.source, RawOf):
                interruptions.quarantine(db, account, entity=entity.name, source=batch.source, raw_id=raw_id)
        if watch.is_any_suspected:
            _try_suspected_logins(entity, batch, watch, root=root)
        transformer = _PageTransformer(entity, batch.source, writer)
        rejected = 0
        for rejects in transformer.run(_without(watch.culprits, raw_batches.read(root, batch))):
            writer.write_rejects(rejects)
            rejected += len(rejects)
        warned = field_warnings.replace(
            db, transformer.warnings, raw_id=raw_id, entity=entity.name, version=entity.version
        )
        log.info(
            "%s: raw batch %d: %d rows, %d records rejected, %d bad fields dropped or rounded",
            entity.name,
            raw_id,
            transformer.rows_written,
            rejected,
            warned,
        )
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


@dataclass
class _LoginTally:
    """What became of the records of a login."""

    read: int = 0
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)

    def complete(self, move: CursorMove) -> CursorMove:
        """Return the cursor move of the login with these counts."""
        path, rule = next((kind for kind, _ in self.faults.most_common(1)), (None, None))
        return replace(move, read=self.read, rejected=self.faults.total(), fault_path=path, fault_rule=rule)


def _try_suspected_logins(entity: Entity, batch: RawBatch, watch: Watch, *, root: UPath) -> None:
    """Type the pages of each suspected login by themselves and discard the result, so that one that kills is known."""
    pages = _without(watch.culprits, raw_batches.read(root, batch))
    for account, account_pages in groupby(pages, key=lambda page: page[0].provider_account_id):
        if not watch.is_suspected(account):
            continue
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
    """Transforms the pages of a batch and writes the typed rows.

    `rows_written` counts the rows, and `warnings` the bad fields of their records.
    """

    def __init__(self, entity: Entity, source: str, writer: TypedWriter) -> None:
        self._decoder = PageDecoder(entity, source)
        self._entity = entity
        self._writer = writer
        self._block = Block(entity)
        self._cursor_moves: list[CursorMove] = []
        self._tallies: dict[int, _LoginTally] = {}
        self.rows_written = 0
        self.warnings = WarningTally()

    def run(self, pages: Iterable[tuple[Header, bytes]]) -> Iterator[list[Reject]]:
        """Write the typed rows of all pages and yield the rejects of each block."""
        rejects: list[Reject] = []
        for line, (header, body) in enumerate(pages):
            if len(self._block) + len(rejects) >= BLOCK_SIZE:
                yield [*rejects, *self._write_block(unfinished_account=header.provider_account_id)]
                rejects = []
            self._track_cursor_move(header)
            account = header.provider_account_id
            page = self._decoder.decode(body, item_id=header.item_id)
            self._tallies[account].read += len(page.upserts) + len(page.deletes) + len(page.rejected)
            for record in page.rejected:
                self._count_fault(account, record.fault)
                rejects.append(Reject(account, line, header.received_at, record.fault, record.identity))
            self._block.add(
                page,
                provider_account_id=account,
                line=line,
                received_at=header.received_at,
                item_id=header.item_id,
            )
        yield [*rejects, *self._write_block()]

    def _track_cursor_move(self, header: Header) -> None:
        """Extend the account's cursor move to this page; the pages of an account are consecutive."""
        account, cursor_from = header.provider_account_id, header.cursor_from
        if self._cursor_moves and self._cursor_moves[-1].provider_account_id == account:
            cursor_from = self._cursor_moves.pop().cursor_from
        self._cursor_moves.append(
            CursorMove(
                account,
                cursor_from,
                header.cursor_to,
                header.whole,
                header.generation,
                first_on=header.first_day,
                last_on=header.last_day,
            )
        )
        self._tallies.setdefault(account, _LoginTally())

    def _count_fault(self, provider_account_id: int, fault: RecordFault) -> None:
        self._tallies[provider_account_id].faults[fault.kind] += 1

    def _write_block(self, unfinished_account: int | None = None) -> list[Reject]:
        """Write the block; keep back the cursor move of an account whose pages are not all read yet."""
        rows = build_table(self._block)
        for reject in rows.rejects:
            self._count_fault(reject.provider_account_id, reject.fault)
        for record in rows.warned:
            self.warnings.add(record.warnings, provider_account_id=record.provider_account_id, line=record.line)
        is_unfinished = self._cursor_moves and self._cursor_moves[-1].provider_account_id == unfinished_account
        unfinished_moves = [self._cursor_moves.pop()] if is_unfinished else []
        finished_moves = [self._tallies.pop(move.provider_account_id).complete(move) for move in self._cursor_moves]
        self._writer.write(rows.table, finished_moves)
        self.rows_written += rows.table.num_rows
        self._block = Block(self._entity, self._block.first_seq + len(self._block), self._block.twins)
        self._cursor_moves = unfinished_moves
        return rows.rejects
