"""Landing pages: what one download attempt received, before it is sealed.

{root}/landing/{chunk}/{attempt}/{provider account}/{page}     one frame each
{root}/landing/{chunk}/{attempt}/manifest.jsonl                written last: the drained accounts, in order
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import msgspec
from upath import UPath

from etl import frames
from etl.errors import LandingMissing
from etl.stores import objects

FOLDER = "landing"
"""Folder below the raw root."""


class Drained(msgspec.Struct, frozen=True):
    """A provider account whose feed was read to its end.

    Parameters
    ----------
    provider_account_id
        The account.
    pages
        How many pages it took.
    """

    provider_account_id: int
    pages: int


class Manifest:
    """The list of drained accounts while it grows."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def add(self, drained: Drained) -> None:
        """List one more account."""
        self._stream.write(msgspec.json.encode(drained) + b"\n")


@dataclass(frozen=True)
class Landing:
    """The pages of one attempt.

    Parameters
    ----------
    root
        The raw root.
    chunk_id, attempt
        Whose pages they are.
    """

    root: UPath
    chunk_id: int
    attempt: int

    @property
    def folder(self) -> UPath:
        """Where the pages are."""
        return self.root / FOLDER / str(self.chunk_id) / str(self.attempt)

    def write_page(self, header: frames.Header, body: bytes) -> None:
        """Keep one page, as sent."""
        with objects.draft(self.root) as draft:
            frames.write(draft.stream, header, body)
            draft.publish(self._page(header.provider_account_id, header.page))

    @contextmanager
    def manifest(self) -> Iterator[Manifest]:
        """Finish the attempt: what is listed inside the block is drained when the block ends without an error."""
        with objects.draft(self.root) as draft:
            yield Manifest(draft.stream)
            draft.publish(self.folder / "manifest.jsonl")

    def read(self) -> Iterator[tuple[frames.Header, bytes]]:
        """Yield every page of the drained accounts, account after account.

        Raises
        ------
        LandingMissing
            If the attempt was not finished, or not on this volume.
        """
        try:
            with (self.folder / "manifest.jsonl").open("rb") as manifest:
                for line in manifest:
                    drained = msgspec.json.decode(line, type=Drained)
                    for page in range(drained.pages):
                        with self._page(drained.provider_account_id, page).open("rb") as stream:
                            yield from frames.read(stream)
        except FileNotFoundError:
            raise LandingMissing(self.chunk_id, self.attempt, str(self.root)) from None

    def remove(self) -> None:
        """Remove the pages of this attempt and of every earlier one of the chunk."""
        for attempt in range(1, self.attempt + 1):
            objects.remove_tree(self.folder.parent / str(attempt))

    def _page(self, provider_account_id: int, page: int) -> UPath:
        return self.folder / str(provider_account_id) / f"{page:06d}"
