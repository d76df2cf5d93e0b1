"""Reels: the pages that a source of a provider sent, of some logins, as they are recorded and played again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etl.conform import shape
from etl.errors import PermanentError

ORIGIN = "https://provider.invalid"
"""Stands in a reel for the address of the provider."""

_FORMAT = 1


class RecordingUnreadable(PermanentError):
    """A recording is missing, or was made of another source."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(f"{path}: {detail}; the option --record makes a recording of each source.")


@dataclass
class Page:
    """A page.

    Parameters
    ----------
    position
        What the request sent to ask for it: a cursor, an offset, a number, a token or a link; empty if nothing.
    document
        Its JSON.
    link
        Its `Link` header; empty if it has none.
    """

    position: str
    document: Any
    link: str = ""


@dataclass
class Reel:
    """The pages of a source, of each login in the order in which they follow one another.

    Parameters
    ----------
    source
        Name of the source.
    page_size
        Records that were asked for in a page.
    logins
        Pages of each login.
    goes_on
        Records of the page after the last one, where it was asked for: the declared end is not the end.
    rows
        Rows that the read which was recorded has loaded.
    """

    source: str
    page_size: int
    logins: list[list[Page]] = field(default_factory=list)
    goes_on: int = 0
    rows: int = 0

    def copy(self) -> Reel:
        """Return a copy that can be changed."""
        return deepcopy(self)

    def find(self, login: int, position: str) -> int | None:
        """Return the index of the page of a login at a position."""
        return next((index for index, page in enumerate(self.logins[login]) if page.position == position), None)

    def add(self, login: int, page: Page) -> None:
        """Add a page; one that was asked for again takes the place of the earlier one."""
        index = self.find(login, page.position)
        if index is None:
            self.logins[login].append(page)
        else:
            self.logins[login][index] = page

    @property
    def documents(self) -> Iterator[Any]:
        """All pages."""
        return (page.document for pages in self.logins for page in pages)

    def save(self, folder: Path) -> None:
        """Write it into a folder, as a file of its source."""
        folder.mkdir(parents=True, exist_ok=True)
        logins = [
            [{"position": page.position, "link": page.link, "document": page.document} for page in pages]
            for pages in self.logins
        ]
        recording = {
            "format": _FORMAT,
            "source": self.source,
            "page_size": self.page_size,
            "goes_on": self.goes_on,
            "rows": self.rows,
            "logins": logins,
        }
        _path(folder, self.source).write_bytes(shape.encode(recording))

    @classmethod
    def load(cls, folder: Path, source: str) -> Reel:
        """Return the recording of a source.

        Raises
        ------
        RecordingUnreadable
            If there is none, or it cannot be read.
        """
        path = _path(folder, source)
        try:
            recording = shape.decode(path.read_bytes())
            if recording["format"] != _FORMAT:
                raise RecordingUnreadable(path, f"its format is {recording['format']}, not {_FORMAT}")
            logins = [[Page(**page) for page in pages] for pages in recording["logins"]]
            return cls(recording["source"], recording["page_size"], logins, recording["goes_on"], recording["rows"])
        except FileNotFoundError:
            raise RecordingUnreadable(path, "there is no such recording") from None
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise RecordingUnreadable(path, f"it cannot be read: {type(error).__name__}") from None


def _path(folder: Path, source: str) -> Path:
    return folder / f"{source}.json"
