"""The file of real purchases that a sandbox bank serves instead of generated ones."""

import csv
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from dev.bank.purchases.file import PurchaseFile
from dev.bank.purchases.rows import PurchaseUnreadable
from dev.bank.world.seed import Key
from dev.servers.errors import PurchasesRefused

_READ_ERRORS = (OSError, ValueError, EOFError, csv.Error, zlib.error)


@dataclass(frozen=True)
class PurchaseSource:
    """A file that a bank can serve.

    Parameters
    ----------
    path
        Absolute path.
    digest
        SHA-256 of its content, in hexadecimal.
    items
        Number of items that the bank makes of it.
    """

    path: Path
    digest: str
    items: int


def inspect_source(path: Path) -> PurchaseSource:
    """Read a file to its end, as the bank will, and return what it holds.

    Raises
    ------
    PurchasesRefused
        If the bank cannot serve it.
    """
    digest = file_digest(path)
    try:
        file = PurchaseFile(Key.of(""), path)
    except PurchaseUnreadable as error:
        raise PurchasesRefused(path, error.reason) from None
    except _READ_ERRORS as error:
        raise PurchasesRefused(path, str(error)) from None
    items = file.item_count
    file.close()
    if not items:
        raise PurchasesRefused(path, "it holds no purchase")
    return PurchaseSource(path, digest, items)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises
    ------
    PurchasesRefused
        If the file does not exist or may not be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PurchasesRefused(path, str(error.strerror)) from None
