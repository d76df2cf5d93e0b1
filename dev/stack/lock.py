"""The lock that allows one `up` or `down` at a time in each home."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dev.stack.home import Home


@contextmanager
def hold_lock(home: Home, *, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a home; if another program holds it, report that and wait."""
    descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another `up` or `down` is running in {home.folder}; waiting for its end.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
