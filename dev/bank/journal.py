"""A file of JSON lines that keeps changes across restarts of the bank."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from dev.bank.changes import JournalEntry

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(JournalEntry)


class JournalUnreadable(ValueError):
    """A line of the journal is not an entry."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(f"{path}, line {line} is not an entry of the bank's journal; fix it or move the file away")


def read(path: Path) -> list[JournalEntry]:
    """Return the entries in `path`, oldest first; none if there is no such file.

    A last line without a line break was interrupted while it was written, so that its change never took effect; it
    is removed from the file.

    Raises
    ------
    JournalUnreadable
        If a complete line is not an entry.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    complete_lines = content[: content.rfind(b"\n") + 1]
    if len(complete_lines) < len(content):
        path.write_bytes(complete_lines)
    return list(_decode_lines(path, complete_lines))


def append(path: Path, entry: JournalEntry) -> None:
    """Append an entry to `path`."""
    with path.open("ab") as file:
        file.write(_ENCODER.encode(entry) + b"\n")


def _decode_lines(path: Path, content: bytes) -> Iterator[JournalEntry]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            yield _DECODER.decode(line)
        except msgspec.DecodeError:
            raise JournalUnreadable(path, number) from None
