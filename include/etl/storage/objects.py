"""Objects below the raw root, on a shared volume or in an object store; drafts are published whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from upath import UPath

from etl.errors import TransientError

MIN_FREE_SPACE = 1 << 30
"""Free bytes of a volume below which nothing is written any more. Postgres, logs and other attempts may be on the same
volume, and a full one stops them all."""

DRAFTS = "drafts"
"""Folder below the root of a volume for objects that are still being written."""


class VolumeFull(TransientError):
    """The volume of the raw root has almost no free space."""

    def __init__(self, path: str, free_bytes: int) -> None:
        super().__init__(
            f"{path}: only {free_bytes:,} bytes of its volume are free, of at least {MIN_FREE_SPACE:,}; enlarge the "
            "volume, or remove what is past its retention with `sluice purge`. No cursor moved and nothing is lost: "
            "the next attempt or run continues."
        )
        self.free_bytes = free_bytes


class Draft:
    """An object that is still being written; it becomes visible, complete, when it is published."""

    def __init__(self, stream: IO[bytes], local: Path | None) -> None:
        self.stream = stream
        self._local = local

    def publish(self, path: UPath, *, flushes_folder: bool = True) -> None:
        """Publish the object at `path`, replacing an earlier one.

        On a volume it is flushed to disk, so that a row which refers to it can be committed afterwards.

        Parameters
        ----------
        flushes_folder
            Whether to flush the folder, too; not needed if another object is published there afterwards.
        """
        self.stream.flush()
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._local is None:
            self.stream.seek(0)
            with path.open("wb") as target:
                shutil.copyfileobj(self.stream, target, length=1 << 20)
        else:
            os.fsync(self.stream.fileno())
            self._local.replace(path.path)
            if flushes_folder:
                _flush_folder(Path(path.path).parent)


def put(path: UPath, content: bytes) -> None:
    """Write an object to `path`, replacing an earlier one, without a flush: a machine crash may truncate it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_volume(path):
        # A new file instead of new content of the old one, which `link` may have given a second name.
        path.unlink(missing_ok=True)
    path.write_bytes(content)


def link(source: UPath, target: UPath) -> bytes:
    """Give an object a second name, or copy it where that is not possible, and return its content.

    A later `put` to one of the names does not change the object at the other.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    """
    if source == target:
        return bytes(source.read_bytes())
    if not is_volume(source):
        content = bytes(source.read_bytes())
        put(target, content)
        return content
    path = Path(target.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        os.link(source.path, path)
        # Maintenance judges pages by their age; these are in use again.
        os.utime(path)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source.path, path)
    return path.read_bytes()


def require_free_space(root: UPath) -> None:
    """Raise if the volume of `root` has less than `MIN_FREE_SPACE`; an object store is never full.

    Raises
    ------
    VolumeFull
        With the path, the free bytes and the remedy.
    """
    if not is_volume(root):
        return
    path = Path(root.path)
    while not path.exists() and path != path.parent:
        path = path.parent
    free_bytes = shutil.disk_usage(path).free
    if free_bytes < MIN_FREE_SPACE:
        raise VolumeFull(root.path, free_bytes)


@contextmanager
def draft(root: UPath) -> Iterator[Draft]:
    """Yield a draft of an object below `root`; it is deleted unless the block publishes it.

    Raises
    ------
    VolumeFull
        If the volume has almost no free space.
    """
    require_free_space(root)
    if not is_volume(root):
        with tempfile.TemporaryFile() as spool:
            yield Draft(spool, local=None)
        return
    folder = Path(root.path) / DRAFTS
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder)
    local = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            yield Draft(stream, local=local)
    finally:
        local.unlink(missing_ok=True)


def is_volume(path: UPath) -> bool:
    """Return whether a path is on a volume rather than in an object store."""
    return path.protocol in ("", "file", "local")


def remove_tree(path: UPath) -> None:
    """Remove a folder with all its objects, if it exists."""
    if path.exists():
        path.rmdir(recursive=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
