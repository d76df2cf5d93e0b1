"""Landing pages: what one download attempt received, before it is sealed.

{root}/landing/{chunk}/{attempt}/{provider account}/{page}     one frame each
{root}/landing/{chunk}/{attempt}/manifest.jsonl                written last: the drained accounts, in order

Pages are not flushed to the disk, as they are gone as soon as they are sealed: the manifest holds their digests, so
that what a crash of the machine cut short is seen. Such a chunk is downloaded again, by the next run at the latest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO

import msgspec
from upath import UPath

from etl.errors import LandingMissing
from etl.storage import objects
from etl.sync.records import frames

FOLDER = "landing"
"""Folder below the raw root."""


class DrainedAccount(msgspec.Struct, frozen=True):
    """A provider account whose feed was read to its end.

    Parameters
    ----------
    provider_account_id
        The account.
    pages
        How many pages it took.
    digest
        SHA-256 of their frames, in hexadecimal.
    """

    provider_account_id: int
    pages: int
    digest: str


class Manifest:
    """The list of drained accounts while it grows."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def add(self, account: DrainedAccount) -> None:
        """List one more account."""
        self._stream.write(msgspec.json.encode(account) + b"\n")


@dataclass
class AccountPages:
    """The pages of one account while they arrive, from the first of its loop.

    Parameters
    ----------
    landing
        Where they go.
    provider_account_id
        The account.
    """

    landing: Landing
    provider_account_id: int
    pages: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256, init=False, repr=False)

    def add(self, header: frames.Header, body: bytes) -> None:
        """Keep the next page, as sent, over that of a loop that was restarted."""
        frame = BytesIO()
        frames.write(frame, header, body)
        self._digest.update(frame.getbuffer())
        objects.put(self.landing.page_path(self.provider_account_id, self.pages), frame.getvalue())
        self.pages += 1

    def finish(self) -> DrainedAccount:
        """Return what the manifest lists of the account, now that all its pages are there."""
        return DrainedAccount(self.provider_account_id, self.pages, self._digest.hexdigest())


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

    def account_pages(self, provider_account_id: int) -> AccountPages:
        """Begin the pages of an account."""
        return AccountPages(self, provider_account_id)

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
            If the attempt was not finished, not on this volume, or is not what was received.
        """
        try:
            with (self.folder / "manifest.jsonl").open("rb") as manifest:
                for line in manifest:
                    yield from self._read_account(msgspec.json.decode(line, type=DrainedAccount))
        except (FileNotFoundError, ValueError):
            # Frames, JSON and Unicode that are none of it are all ValueErrors.
            raise self._missing_error() from None

    def _read_account(self, account: DrainedAccount) -> Iterator[tuple[frames.Header, bytes]]:
        digest = hashlib.sha256()
        for page in range(account.pages):
            frame = self.page_path(account.provider_account_id, page).read_bytes()
            digest.update(frame)
            yield from frames.read(BytesIO(frame))
        if digest.hexdigest() != account.digest:
            raise self._missing_error()

    def _missing_error(self) -> LandingMissing:
        return LandingMissing(self.chunk_id, self.attempt, str(self.root))

    def remove(self) -> None:
        """Remove the pages of this attempt and of every earlier one of the chunk."""
        for attempt in range(1, self.attempt + 1):
            objects.remove_tree(self.folder.parent / str(attempt))

    def page_path(self, provider_account_id: int, page: int) -> UPath:
        """Return where a page is."""
        return self.folder / str(provider_account_id) / f"{page:06d}"
