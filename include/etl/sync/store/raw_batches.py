"""Raw batches: pages as the provider sent them, sealed once, never changed.

Each chunk and attempt has one zstd object, named after the SHA-256 of its content, and one row in `etl.raw_batches`.
Everything downstream can be rebuilt from them without requests to the provider.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, cast

from upath import UPath

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.errors import RawCorrupt, RawMissing, RawPurged
from etl.storage import compression, objects
from etl.storage.objects import Draft
from etl.sync.records import frames

FOLDER = "raw"
"""Folder below the raw root."""
_SUFFIX = ".zst"
_SQL = StatementFile("sync/raw_batches")


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
        SHA-256 of the content before compression, in hexadecimal.
    path
        Path of the object below the raw root.
    accounts, pages, bytes
        Size; bytes before compression.
    purged_at
        When its object was deleted after its retention; None while it exists.
    opened_at, sealed_at
        Between these instants its pages were received, by the clock of the warehouse. `opened_at` is None in batches of
        before it was stored.
    """

    raw_id: int
    source: str
    content_hash: str
    path: str
    accounts: int
    pages: int
    bytes: int
    sealed_at: datetime
    opened_at: datetime | None = None
    purged_at: datetime | None = None


class _HashingStream:
    """A binary stream that computes the digest and the size of the bytes that pass through it."""

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
    """Return the id of the batch of an attempt; None if it was not sealed."""
    raw_ids = _SQL["find_by_attempt"].scalars(db, {"chunk_id": chunk_id, "attempt": attempt})
    return raw_ids[0] if raw_ids else None


def seal(
    db: Connection,
    root: UPath,
    pages: Iterable[tuple[frames.Header, bytes]],
    *,
    source: str,
    chunk_id: int,
    attempt: int,
    opened_at: datetime | None = None,
) -> int:
    """Seal the pages of an attempt and return the id of the batch; sealing twice gives the same batch.

    Parameters
    ----------
    opened_at
        When the attempt began, by the clock of the warehouse; None if that is not known.
    """
    accounts: list[int] = []
    page_count = 0
    with objects.draft(root) as draft:
        with compression.compress_to(draft.stream) as compressed:
            content = _HashingStream(compressed)
            for header, body in pages:
                frames.write(cast(IO[bytes], content), header, body)
                if accounts[-1:] != [header.provider_account_id]:
                    accounts.append(header.provider_account_id)
                page_count += 1
        content_hash = content.digest.hexdigest()
        row = {
            "source": source,
            "chunk_id": chunk_id,
            "attempt": attempt,
            "content_hash": content_hash,
            "path": f"{FOLDER}/{source}/{content_hash[:2]}/{content_hash}{_SUFFIX}",
            "accounts": len(accounts),
            "provider_account_ids": accounts,
            "pages": page_count,
            "bytes": content.size,
            "opened_at": opened_at,
        }
        return _publish(db, root, draft, row)


def _publish(db: Connection, root: UPath, draft: Draft, row: dict[str, object]) -> int:
    """Publish the object, then insert its row; a purge of the object waits until both exist."""
    path = str(row["path"])
    with db.transaction():
        lock_object(db, path)
        draft.publish(root / path)
        _SQL["record"].run(db, row)
        return int(_SQL["find_by_attempt"].scalar(db, row))


def lock_object(db: Connection, path: str) -> None:
    """Exclude every other publication or purge of an object until the transaction ends.

    Parameters
    ----------
    path
        Path of the object below the raw root.
    """
    locks.acquire_until_commit(db, f"object.{path}")


def content_hash_from_path(path: str) -> str:
    """Return the hash in the name of a batch's object; empty if the path is not that of a batch."""
    name = path.rpartition("/")[2]
    return name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else ""


def find(db: Connection, raw_id: int) -> RawBatch:
    """Return a batch.

    Raises
    ------
    RawMissing
        If there is no batch with this id.
    """
    batch = _SQL["find"].first(db, RawBatch, {"raw_id": raw_id})
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
    """Return the batches of some sources that were sealed in a half-open span of time, in the order of sealing.

    Parameters
    ----------
    since, until
        Bounds of the span; None for no bound.
    only_purged
        Whether to return purged batches instead of those that still exist.
    """
    span = {"sources": list(sources), "since": since, "until": until, "purged": only_purged}
    return _SQL["sealed_between"].scalars(db, span)


def lock(db: Connection, raw_id: int) -> None:
    """Wait until no other transaction loads the batch, and exclude others until this one ends."""
    _SQL["lock"].run(db, {"raw_id": raw_id})


def read(root: UPath, batch: RawBatch) -> Iterator[tuple[frames.Header, bytes]]:
    """Yield each page of a batch with its header, in the order in which they were sealed.

    Raises
    ------
    RawPurged
        If it was purged after its retention.
    RawMissing
        If the object does not exist.
    RawCorrupt
        If the object differs from what was sealed; some differences are detected only at the end.
    """
    if batch.purged_at is not None:
        raise RawPurged(batch.raw_id, batch.purged_at)
    path = root / batch.path
    try:
        with path.open("rb") as stream:
            content = _HashingStream(compression.decompress(stream))
            yield from frames.read(cast(IO[bytes], content))
    except FileNotFoundError:
        raise RawMissing(batch.raw_id, str(root)) from None
    except (frames.BrokenFrame, compression.CompressionError) as error:
        raise RawCorrupt(str(path), str(error)) from None
    if content.digest.hexdigest() != batch.content_hash:
        raise RawCorrupt(str(path), "its content no longer has the hash that it was sealed with")
