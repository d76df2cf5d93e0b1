"""Typed batches: the rows of a raw batch, and what it says of each login, in Arrow's file format.

    {root}/typed/{entity}/v{version}-{format}/{raw hash}/rows.arrow
    {root}/typed/{entity}/v{version}-{format}/{raw hash}/cursors.arrow
    {root}/typed/{entity}/v{version}-{format}/{raw hash}/rejects.arrow    if any record was rejected

The same raw batch and declaration always result in the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.errors import TypedCorrupt, TypedMissing
from etl.storage import objects
from etl.sync.records.rows import Reject, schema
from etl.sync.store.raw_batches import RawBatch

FOLDER = "typed"
"""Folder below the raw root."""
FORMAT = 5
"""Increase it when the columns of the files change: files of another format are not read, but written again."""
_MAX_ROWS = 10_000
"""Rows that are read at once."""
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
"""A batch is read once or twice and kept for days: to write and read it so takes a third of the time of Parquet with
zstd, and twice the space."""
CURSOR_MOVE_SCHEMA = pa.schema(
    [
        (PROVIDER_ACCOUNT, pa.int64()),
        ("cursor_from", pa.string()),
        ("cursor_to", pa.string()),
        ("whole", pa.bool_()),
        ("generation", pa.int64()),
        ("read", pa.int64()),
        ("rejected", pa.int64()),
        ("first_on", pa.date32()),
        ("last_on", pa.date32()),
        ("fault_path", pa.string()),
        ("fault_rule", pa.string()),
    ]
)
"""One row for each login of the batch, whatever its source; cursors are empty where it has none."""
REJECT_SCHEMA = pa.schema(
    [
        (PROVIDER_ACCOUNT, pa.int64()),
        ("record_id", pa.string()),
        ("replaces", pa.string()),
        ("observed_at", pa.timestamp("us", tz="UTC")),
        ("line", pa.int32()),
        ("path", pa.string()),
        ("rule", pa.string()),
        ("reason", pa.string()),
    ]
)
"""One row for each rejected record; see `etl.sync.store.rejects.StoredReject`."""
_MAX_REPLACED_LENGTH = 256
"""Characters of the key of a replaced record; a longer one names no row."""


@dataclass(frozen=True)
class CursorMove:
    """The move of an account's cursor by a batch, and what became of its records when they were typed.

    Parameters
    ----------
    provider_account_id
        The account.
    cursor_from, cursor_to
        The cursor before and after.
    whole
        Whether the batch holds the whole feed instead of the changes between the two cursors.
    generation
        Generation of its cursor when its download began; None if unknown.
    read, rejected
        Records as sent, and how many of them were rejected.
    fault_path, fault_rule
        The path, without list positions, and the rule that most of its rejects broke; None if it has no rejects.
    first_on, last_on
        The recent days that were read, both inclusive; None for other sources.
    """

    provider_account_id: int
    cursor_from: str
    cursor_to: str
    whole: bool
    generation: int | None = None
    read: int = 0
    rejected: int = 0
    fault_path: str | None = None
    fault_rule: str | None = None
    first_on: date | None = None
    last_on: date | None = None


class TypedWriter:
    """Writes a typed batch block by block; a thread writes a block while the next is being typed.

    `has_rejects` tells whether any record was rejected.
    """

    def __init__(
        self,
        rows: pa.RecordBatchFileWriter,
        cursor_moves: pa.RecordBatchFileWriter,
        rejects: pa.RecordBatchFileWriter,
        executor: Executor,
    ) -> None:
        self._rows = rows
        self._cursor_moves = cursor_moves
        self._rejects = rejects
        self._executor = executor
        self._pending_write: Future[None] | None = None
        self.has_rejects = False

    def write(self, rows: pa.Table, cursor_moves: list[CursorMove]) -> None:
        """Append a block of rows, and the cursor moves of the accounts that are complete with it."""
        self.finish()
        self._pending_write = self._executor.submit(self._rows.write_table, rows, _MAX_ROWS)
        if cursor_moves:
            moves = [asdict(move) for move in cursor_moves]
            self._cursor_moves.write_table(pa.Table.from_pylist(moves, schema=CURSOR_MOVE_SCHEMA))

    def write_rejects(self, rejects: Sequence[Reject]) -> None:
        """Append rejects, of several of one record the last one last."""
        if rejects:
            self.has_rejects = True
            self._rejects.write_table(pa.Table.from_pylist([_to_row(each) for each in rejects], schema=REJECT_SCHEMA))

    def finish(self) -> None:
        """Wait until all rows are written, and raise the error of a failed write."""
        if self._pending_write is not None:
            self._pending_write.result()


@dataclass(frozen=True)
class TypedBatch:
    """The typed batch of a raw batch.

    Parameters
    ----------
    root
        The raw root.
    entity
        The entity whose columns it has.
    raw_batch
        The raw batch that it was typed from.
    """

    root: UPath
    entity: Entity
    raw_batch: RawBatch

    @contextmanager
    def write(self) -> Iterator[TypedWriter]:
        """Yield a writer of the batch, which is published when the block ends without an error."""
        with (
            objects.draft(self.root) as rows,
            objects.draft(self.root) as moves,
            objects.draft(self.root) as rejects,
        ):
            with (
                pa.ipc.new_file(rows.stream, schema(self.entity), options=_OPTIONS) as rows_writer,
                pa.ipc.new_file(moves.stream, CURSOR_MOVE_SCHEMA, options=_OPTIONS) as moves_writer,
                pa.ipc.new_file(rejects.stream, REJECT_SCHEMA, options=_OPTIONS) as rejects_writer,
                ThreadPoolExecutor(1) as thread,
            ):
                writer = TypedWriter(rows_writer, moves_writer, rejects_writer, thread)
                yield writer
                writer.finish()
            moves.publish(self._folder / "cursors.arrow", flushes_folder=False)
            if writer.has_rejects:
                rejects.publish(self._folder / "rejects.arrow", flushes_folder=False)
            rows.publish(self._folder / "rows.arrow")

    def exists(self) -> bool:
        """Return whether the batch was written."""
        return bool((self._folder / "rows.arrow").exists())

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows as record batches of at most 10,000 rows.

        Parameters
        ----------
        columns
            Names of the columns to read; None for all.

        Raises
        ------
        TypedMissing
            If the batch was not written.
        TypedCorrupt
            If the file is damaged.
        """
        return self._read("rows.arrow", columns)

    def read_cursor_moves(self) -> pa.Table:
        """Return all cursor moves; raise as `cursor_moves` does."""
        return pa.Table.from_batches(self.cursor_moves(), CURSOR_MOVE_SCHEMA)

    def cursor_moves(self) -> Iterator[pa.RecordBatch]:
        """Yield the cursor moves: one row for each login, with the columns of `CURSOR_MOVE_SCHEMA`.

        Raises
        ------
        TypedMissing
            If the batch was not written.
        TypedCorrupt
            If the file is damaged.
        """
        return self._read("cursors.arrow")

    def rejects(self) -> Iterator[pa.RecordBatch]:
        """Yield the rejects, with the columns of `REJECT_SCHEMA`.

        The cursor moves tell whether there are any: an earlier transformation, which rejected more, may have left a
        file.

        Raises
        ------
        TypedMissing
            If the batch was not written.
        TypedCorrupt
            If the file is damaged.
        """
        if any(pc.any(pc.greater(moves["rejected"], 0)).as_py() for moves in self.cursor_moves()):
            return self._read("rejects.arrow")
        return iter(())

    def has_full_read(self) -> bool:
        """Return whether any account's feed was read from its beginning."""
        return any(pc.any(moves["whole"]).as_py() for moves in self.cursor_moves())

    @property
    def _folder(self) -> UPath:
        version = f"v{self.entity.version}-{FORMAT}"
        return self.root / FOLDER / self.entity.name / version / self.raw_batch.content_hash

    def _read(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        try:
            with (self._folder / name).open("rb") as stream:
                reader = pa.ipc.open_file(stream)
                if columns is not None:
                    included = [reader.schema.get_field_index(column) for column in columns]
                    options = pa.ipc.IpcReadOptions(included_fields=included)
                    reader = pa.ipc.open_file(stream, options=options)
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)
        except FileNotFoundError:
            raise TypedMissing(self.raw_batch.raw_id, self.entity.name, self.entity.version) from None
        except pa.ArrowInvalid as error:
            path = str(self._folder / name)
            raise TypedCorrupt(self.raw_batch.raw_id, self.entity.name, path, str(error).split("\n")[0]) from None


def _to_row(reject: Reject) -> dict[str, Any]:
    replaces = reject.identity.replaces
    return {
        PROVIDER_ACCOUNT: reject.provider_account_id,
        "record_id": reject.identity.record_id,
        "replaces": replaces if replaces is None or len(replaces) <= _MAX_REPLACED_LENGTH else None,
        "observed_at": reject.observed_at,
        "line": reject.line,
        "path": reject.fault.path,
        "rule": reject.fault.rule,
        "reason": reject.fault.reason.replace("\x00", "\\0"),
    }
