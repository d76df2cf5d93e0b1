"""Feeds that could not be read to their end yet: the landed pages that the next download continues from.

A row names the attempt whose folder holds the pages. Only that attempt changes the row; a later one takes it over once
it has the pages in its own folder, so that a process that was believed dead cannot disturb it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("sync/unfinished_downloads")


@dataclass(frozen=True)
class UnfinishedDownload:
    """The pages of a feed that were read so far.

    Parameters
    ----------
    provider_account_id
        The account.
    chunk_id, attempt
        The attempt whose landing holds the pages.
    generation
        Generation of the cursor from which they were read.
    pages, bytes
        Number and size of the pages.
    digest
        SHA-256 of the frames of the pages, in hexadecimal.
    cursor_to
        The cursor to continue from.
    is_full_read
        Whether the feed is read from its beginning in spite of its cursor.
    first_on, last_on
        The recent days that the pages are of; None if they are of a feed.
    """

    provider_account_id: int
    chunk_id: int
    attempt: int
    generation: int
    pages: int
    bytes: int
    digest: str
    cursor_to: str
    is_full_read: bool
    first_on: date | None = None
    last_on: date | None = None


def find(db: Connection, provider_account_ids: Collection[int], *, feed: str) -> dict[int, UnfinishedDownload]:
    """Return the unfinished downloads of some accounts, by account."""
    values = {"provider_account_ids": list(provider_account_ids), "feed": feed}
    downloads = _SQL["find"].objects(db, UnfinishedDownload, values)
    return {download.provider_account_id: download for download in downloads}


def save(db: Connection, download: UnfinishedDownload, *, feed: str) -> bool:
    """Record the pages that an attempt has landed; return False, and do nothing, if a later attempt has the row."""
    return bool(_SQL["save"].run(db, {**vars(download), "feed": feed}))


def discard(db: Connection, provider_account_ids: Collection[int], *, feed: str, chunk_id: int, attempt: int) -> None:
    """Forget pages of an attempt, unless another attempt has taken the row over."""
    values = {"feed": feed, "chunk_id": chunk_id, "attempt": attempt}
    _SQL["discard"].run(db, {**values, "provider_account_ids": list(provider_account_ids)})


def kept_folders(db: Connection, chunk_id: int) -> set[tuple[int, int]]:
    """Return the attempts and accounts of a chunk whose landed pages are still needed."""
    return set(_SQL["kept_folders"].rows(db, {"chunk_id": chunk_id}))


def all_kept_folders(db: Connection, *, since: datetime) -> set[tuple[int, int, int]]:
    """Return the chunks, attempts and accounts whose landed pages are still needed.

    Parameters
    ----------
    since
        Pages that were last continued earlier do not count, nor those of feeds that have been loaded since.
    """
    return set(_SQL["all_kept_folders"].rows(db, {"since": since}))


def remove_unusable(db: Connection, *, since: datetime) -> int:
    """Remove the rows that `all_kept_folders` does not count, and return their number."""
    return _SQL["remove_unusable"].run(db, {"since": since})
