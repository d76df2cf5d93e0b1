"""One `up` or `down` at a time in each home."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dev.stack.home import Home


@contextmanager
def hold_lock(home: Home, *, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a home; waits, and says so, while another program holds it."""
    descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another `up` or `down` works on {home.folder}; waiting for it.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
