"""Listing and removal of the objects below the raw root.

Memory is bounded: a listing holds one entry at a time on a volume, and one folder of an object store. Objects may be
removed by others while they are listed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from upath import UPath

from etl.storage import objects

_MODIFIED_AT_KEYS = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")
"""Names that object stores use for the time at which an object was last written."""


@dataclass(frozen=True)
class StoredObject:
    """An object below the raw root.

    Parameters
    ----------
    path
        Its path.
    size
        Its size in bytes.
    """

    path: UPath
    size: int


def written_before(folder: UPath, cutoff: datetime) -> Iterator[StoredObject]:
    """Yield the objects below a folder that were last written before `cutoff`, in no particular order."""
    listing = _list_volume(folder) if objects.is_volume(folder) else _list_object_store(folder)
    for path, modified_at, byte_count in listing:
        if modified_at < cutoff:
            yield StoredObject(path, byte_count)


def size(path: UPath) -> int | None:
    """Return the size of an object in bytes; None if there is none."""
    try:
        return int(path.stat().st_size)
    except FileNotFoundError:
        return None


def remove(path: UPath, *, older_than: datetime | None = None) -> int | None:
    """Remove an object and return its size in bytes; None if it is missing, or was written at `older_than` or later."""
    byte_count = size(path)
    if byte_count is None or (older_than and _modified_at(path) >= older_than):
        return None
    path.unlink(missing_ok=True)
    return byte_count


def remove_empty_folders(folder: UPath, *, older_than: datetime) -> None:
    """Remove empty folders below a folder if they last changed before `older_than`; object stores have no folders."""
    if objects.is_volume(folder) and Path(folder.path).is_dir():
        _remove_empty_below(Path(folder.path), older_than.timestamp())


def _list_volume(folder: UPath) -> Iterator[tuple[UPath, datetime, int]]:
    try:
        entries = os.scandir(folder.path)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _list_volume(path)
            else:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield path, datetime.fromtimestamp(status.st_mtime, UTC), status.st_size


def _list_object_store(folder: UPath) -> Iterator[tuple[UPath, datetime, int]]:
    try:
        entries = folder.fs.ls(folder.path, detail=True)
    except FileNotFoundError:
        return
    # fsspec caches every listing; together they would not fit into memory.
    folder.fs.invalidate_cache(folder.path)
    for entry in entries:
        path = folder / PurePosixPath(entry["name"].rstrip("/")).name
        if entry["type"] == "directory":
            yield from _list_object_store(path)
        elif path.path != folder.path:
            yield path, _listed_modified_at(entry) or _modified_at(path), int(entry["size"] or 0)


def _modified_at(path: UPath) -> datetime:
    modified_at: datetime = path.fs.modified(path.path)
    return modified_at if modified_at.tzinfo else modified_at.replace(tzinfo=UTC)


def _listed_modified_at(entry: Mapping[str, object]) -> datetime | None:
    """Return when an object was last written; None if the listing lacks it."""
    for name in _MODIFIED_AT_KEYS:
        match entry.get(name):
            case datetime() as instant:
                return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
            case float() | int() as seconds:
                return datetime.fromtimestamp(seconds, UTC)
            case str() as text:
                return datetime.fromisoformat(text)
    return None


def _remove_empty_below(folder: Path, older_than: float) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                path = Path(entry.path)
                modified_at = entry.stat(follow_symlinks=False).st_mtime
                _remove_empty_below(path, older_than)
                if modified_at < older_than and not any(path.iterdir()):
                    path.rmdir()
