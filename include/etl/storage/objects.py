"""Objects below the raw root, on a shared volume or in an object store; drafts are published whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from upath import UPath

DRAFTS = "drafts"
"""Folder below the root of a volume for objects that are still being written."""


class Draft:
    """An object that is still being written; it becomes visible, complete, when it is published."""

    def __init__(self, stream: IO[bytes], local: Path | None) -> None:
        self.stream = stream
        self._local = local

    def publish(self, path: UPath) -> None:
        """Publish the object at `path`, replacing an earlier one.

        On a volume it is flushed to disk, so that a row which refers to it can be committed afterwards.
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
    """Write an object to `path`, replacing an earlier one, without a flush: a machine crash may truncate it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@contextmanager
def draft(root: UPath) -> Iterator[Draft]:
    """Yield a draft of an object below `root`; it is deleted unless the block publishes it."""
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
