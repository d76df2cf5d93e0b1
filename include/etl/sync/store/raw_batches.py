"""Raw batches: pages as the provider sent them, sealed once, never changed.

One zstd object for each chunk and attempt, named after the SHA-256 of its content, and one row in `etl.raw_batches`.
Anything downstream can be made again from it without asking the provider.
"""

import hashlib
import io
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, cast

import zstandard
from psycopg.rows import class_row, scalar_row
from upath import UPath

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import statement
from etl.errors import RawCorrupt, RawMissing, RawPurged
from etl.storage import objects
from etl.storage.objects import Draft
from etl.sync.records import frames

FOLDER = "raw"
"""Folder below the raw root."""
_SUFFIX = ".zst"


@dataclass(frozen=True)
class RawBatch:
    """A sealed batch.

    Parameters
    ----------
    raw_id
        Its id.
    source
        Name of the feed, snapshot or window that its pages come from.
    content_hash
        SHA-256 before compression, in hexadecimal.
    path
        Place of the object below the raw root.
    accounts, pages, bytes
        Size; bytes before compression.
    purged_at
        When its object was given up, past its retention; None while it is kept.
    """

    raw_id: int
    source: str
    content_hash: str
    path: str
    accounts: int
    pages: int
    bytes: int
    purged_at: datetime | None = None


class _HashingStream:
    """A binary stream that remembers the digest and the size of what passes through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> int:
        self.digest.update(chunk)
        self.size += len(chunk)
        return self._stream.write(chunk)

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self.digest.update(chunk)
        self.size += len(chunk)
        return chunk

    def readline(self) -> bytes:
        line = self._stream.readline()
        self.digest.update(line)
        self.size += len(line)
        return line


def find_by_attempt(db: Connection, chunk_id: int, attempt: int) -> int | None:
    """Return the id of the batch of an attempt, if it was sealed."""
    with db.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            statement("sync/raw_batches", "find_by_attempt"), {"chunk_id": chunk_id, "attempt": attempt}
        ).fetchone()


def seal(
    db: Connection,
    root: UPath,
    pages: Iterable[tuple[frames.Header, bytes]],
    *,
    source: str,
    chunk_id: int,
    attempt: int,
) -> int:
    """Seal the pages of an attempt and return the id of the batch; sealing twice gives the same batch."""
    accounts, count, last = 0, 0, 0
    with objects.draft(root) as draft:
        # In a thread of its own, beside reading and hashing.
        with zstandard.ZstdCompressor(level=3, threads=1).stream_writer(draft.stream, closefd=False) as compressor:
            content = _HashingStream(cast(IO[bytes], compressor))
            for header, body in pages:
                frames.write(cast(IO[bytes], content), header, body)
                accounts += header.provider_account_id != last
                last = header.provider_account_id
                count += 1
        content_hash = content.digest.hexdigest()
        row = {
            "source": source,
            "chunk_id": chunk_id,
            "attempt": attempt,
            "content_hash": content_hash,
            "path": f"{FOLDER}/{source}/{content_hash[:2]}/{content_hash}{_SUFFIX}",
            "accounts": accounts,
            "pages": count,
            "bytes": content.size,
        }
        return _publish(db, root, draft, row)


def _publish(db: Connection, root: UPath, draft: Draft, row: dict[str, object]) -> int:
    """Publish the object and then its row; whoever would purge the object waits until it has both."""
    path = str(row["path"])
    with db.transaction(), db.cursor(row_factory=scalar_row) as cursor:
        lock_object(db, path)
        draft.publish(root / path)
        cursor.execute(statement("sync/raw_batches", "record"), row)
        (raw_id,) = cursor.execute(statement("sync/raw_batches", "find_by_attempt"), row).fetchall()
    return int(raw_id)


def lock_object(db: Connection, path: str) -> None:
    """Let nobody else publish or purge an object until the transaction ends.

    Parameters
    ----------
    path
        Below the raw root.
    """
    locks.acquire_until_commit(db, f"object.{path}")


def content_hash_of(path: str) -> str:
    """Return the hash in the name of a batch's object; empty if it is none."""
    name = path.rpartition("/")[2]
    return name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else ""


def find(db: Connection, raw_id: int) -> RawBatch:
    """Return a batch.

    Raises
    ------
    RawMissing
        If there is none of this id.
    """
    with db.cursor(row_factory=class_row(RawBatch)) as cursor:
        batch = cursor.execute(statement("sync/raw_batches", "find"), {"raw_id": raw_id}).fetchone()
    if batch is None:
        raise RawMissing(raw_id, "etl.raw_batches")
    return batch


def sealed_between(
    db: Connection,
    *,
    sources: Collection[str],
    since: datetime | None,
    until: datetime | None,
    only_purged: bool = False,
) -> list[int]:
    """Return the batches of some sources that were sealed in a half-open span of time, in the order in which they were.

    Parameters
    ----------
    since, until
        None leaves the span open.
    only_purged
        Whether those are meant that were purged, and not those that are kept.
    """
    span = {"sources": list(sources), "since": since, "until": until, "purged": only_purged}
    with db.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(statement("sync/raw_batches", "sealed_between"), span).fetchall()


def lock(db: Connection, raw_id: int) -> None:
    """Wait until no other transaction loads the batch, and keep others out until this one ends."""
    db.execute(statement("sync/raw_batches", "lock"), {"raw_id": raw_id})


def read(root: UPath, batch: RawBatch) -> Iterator[tuple[frames.Header, bytes]]:
    """Yield each page of a batch with its header, in the order in which they were sealed.

    Raises
    ------
    RawPurged
        If it is past its retention.
    RawMissing
        If the object is gone.
    RawCorrupt
        If it does not hold the bytes that were sealed; known for certain only at the end.
    """
    if batch.purged_at is not None:
        raise RawPurged(batch.raw_id, batch.purged_at)
    path = root / batch.path
    try:
        with path.open("rb") as stream:
            decompressor = zstandard.ZstdDecompressor().stream_reader(stream)
            content = _HashingStream(cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, decompressor), 1 << 20)))
            yield from frames.read(cast(IO[bytes], content))
    except FileNotFoundError:
        raise RawMissing(batch.raw_id, str(root)) from None
    except (frames.BrokenFrame, zstandard.ZstdError) as error:
        raise RawCorrupt(str(path), str(error)) from None
    if content.digest.hexdigest() != batch.content_hash:
        raise RawCorrupt(str(path), "its content no longer has the hash under which it was sealed")
