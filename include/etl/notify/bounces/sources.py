"""Where reports are: in one mail from a pipe, in a Maildir, or in an mbox."""

from __future__ import annotations

import mailbox
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from etl.errors import PermanentError
from etl.notify.bounces.read import MAX_BYTES

_NEW, _CURRENT = "new", "cur"
_FLAGS = ":2,"
_SEEN, _FLAGGED = "S", "F"
_ENVELOPE_LINE = b"From "


class MailSourceInvalid(PermanentError):
    """A folder is no Maildir, or a file is no mbox."""

    def __init__(self, path: Path, expected: str) -> None:
        super().__init__(f"{path} is no {expected}; nothing was read. Check the path and its permissions.")


@dataclass(frozen=True)
class ReceivedMail:
    """A mail that may be a report.

    Parameters
    ----------
    name
        Names it within its source.
    content
        Its first bytes, at most `MAX_BYTES`.
    path
        Its file in a Maildir; None elsewhere.
    """

    name: str
    content: bytes = field(repr=False)
    path: Path | None = None


def read_pipe(stream: BinaryIO) -> ReceivedMail:
    """Return the mail of a pipe; the rest of a large one is read as well, since its writer would fail."""
    content = stream.read(MAX_BYTES)
    while stream.read(MAX_BYTES):
        pass
    return ReceivedMail("the mail", _without_envelope_line(content))


def read_maildir(folder: Path) -> Iterator[ReceivedMail]:
    """Yield the mails of a Maildir that are not marked as seen.

    Raises
    ------
    MailSourceInvalid
        If it is no Maildir.
    """
    if not all((folder / name).is_dir() for name in (_NEW, _CURRENT)):
        raise MailSourceInvalid(folder, "Maildir, which has the folders `new` and `cur`")
    for name in (_NEW, _CURRENT):
        with os.scandir(folder / name) as entries:
            for entry in entries:
                if entry.name.startswith(".") or _SEEN in entry.name.partition(_FLAGS)[2]:
                    continue
                path = Path(entry.path)
                try:
                    with path.open("rb") as file:
                        content = file.read(MAX_BYTES)
                except (FileNotFoundError, IsADirectoryError):
                    # Another process has moved it.
                    continue
                yield ReceivedMail(entry.name, content, path)


def read_mbox(path: Path) -> Iterator[ReceivedMail]:
    """Yield the mails of an mbox, which is not changed.

    Raises
    ------
    MailSourceInvalid
        If it cannot be read as an mbox.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_ENVELOPE_LINE))
    except OSError as error:
        raise MailSourceInvalid(path, f"file that can be read ({error.strerror})") from None
    if start not in (_ENVELOPE_LINE, b""):
        raise MailSourceInvalid(path, "mbox, whose mails begin with a line `From …`")
    mails = mailbox.mbox(path, create=False)
    try:
        for number, key in enumerate(mails.keys(), 1):
            with mails.get_file(key) as file:
                yield ReceivedMail(f"mail {number}", file.read(MAX_BYTES))
    finally:
        mails.close()


def mark_read(mail: ReceivedMail, *, is_matched: bool) -> None:
    """Mark a mail of a Maildir as seen, and flag it for a person if it was not matched; other sources keep no marks."""
    if mail.path is None:
        return
    base, _, flags = mail.path.name.partition(_FLAGS)
    marks = "".join(sorted({*flags, _SEEN, *("" if is_matched else _FLAGGED)}))
    mail.path.rename(mail.path.parent.parent / _CURRENT / f"{base}{_FLAGS}{marks}")


def _without_envelope_line(content: bytes) -> bytes:
    """Return a mail without the line that mail servers put before one that they write into a pipe."""
    return content.partition(b"\n")[2] if content.startswith(_ENVELOPE_LINE) else content
