"""Objects below the raw root: written once, whole or not at all, on a shared volume or in an object store."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from upath import UPath

DRAFTS = "drafts"
"""Folder below the root of a volume, of what is being written."""


class Draft:
    """An object that is being written; it appears at its place when it is published, complete."""

    def __init__(self, stream: IO[bytes], local: Path | None) -> None:
        self.stream = stream
        self._local = local

    def publish(self, path: UPath) -> None:
        """Put the object at `path`, replacing what was there.

        On a volume it is flushed to the disk first, so that a row that names it can be committed after.
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
            _flush_folder(Path(path.path).parent)


def put(path: UPath, content: bytes) -> None:
    """Put an object at `path`, replacing what was there, unflushed: a crash of the machine may leave part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@contextmanager
def draft(root: UPath) -> Iterator[Draft]:
    """Begin an object below `root`; one that is not published leaves nothing behind."""
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
    """Return whether a path is on a volume, not in an object store."""
    return path.protocol in ("", "file", "local")


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(path: UPath) -> None:
    """Remove a folder of objects, if it is there."""
    if path.exists():
        path.rmdir(recursive=True)
