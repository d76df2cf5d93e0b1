"""What lies below the raw root, object after object.

On a volume one entry of a folder is in memory at a time; of an object store, one folder. What is listed may be removed
meanwhile.
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
"""What object stores call the moment at which an object was written."""


@dataclass(frozen=True)
class StoredObject:
    """An object.

    Parameters
    ----------
    path
        Where it is.
    size
        In bytes.
    """

    path: UPath
    size: int


def written_before(folder: UPath, cutoff: datetime) -> Iterator[StoredObject]:
    """Yield the objects below a folder that were last written before an instant, in no order."""
    for path, changed_at, size in _list_volume(folder) if objects.is_volume(folder) else _list_object_store(folder):
        if changed_at < cutoff:
            yield StoredObject(path, size)


def size(path: UPath) -> int | None:
    """Return the size of an object in bytes; None if there is none."""
    try:
        return int(path.stat().st_size)
    except FileNotFoundError:
        return None


def remove(path: UPath, *, older_than: datetime | None = None) -> int | None:
    """Remove an object, and return its size in bytes; None if it is not there, or was written again since."""
    found = size(path)
    if found is None or (older_than and _modified_at(path) >= older_than):
        return None
    path.unlink(missing_ok=True)
    return found


def remove_empty_folders(folder: UPath, *, older_than: datetime) -> None:
    """Remove the folders below another that have been empty for some time; object stores have none."""
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
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield path, datetime.fromtimestamp(found.st_mtime, UTC), found.st_size


def _list_object_store(folder: UPath) -> Iterator[tuple[UPath, datetime, int]]:
    try:
        entries = folder.fs.ls(folder.path, detail=True)
    except FileNotFoundError:
        return
    # Drivers remember every listing, and all of them together would not fit.
    folder.fs.invalidate_cache(folder.path)
    for entry in entries:
        path = folder / PurePosixPath(entry["name"].rstrip("/")).name
        if entry["type"] == "directory":
            yield from _list_object_store(path)
        elif path.path != folder.path:
            yield path, _listed_modified_at(entry) or _modified_at(path), int(entry["size"] or 0)


def _modified_at(path: UPath) -> datetime:
    changed_at: datetime = path.fs.modified(path.path)
    return changed_at if changed_at.tzinfo else changed_at.replace(tzinfo=UTC)


def _listed_modified_at(entry: Mapping[str, object]) -> datetime | None:
    """Return when an object was written, if the listing tells."""
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
                changed_at = entry.stat(follow_symlinks=False).st_mtime
                _remove_empty_below(path, older_than)
                if changed_at < older_than and not any(path.iterdir()):
                    path.rmdir()
