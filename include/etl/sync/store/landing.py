"""Landing: the pages that a download attempt received, until they are sealed.

{root}/landing/{chunk}/{attempt}/{provider account}/{page}     one frame each
{root}/landing/{chunk}/{attempt}/manifest.jsonl                written last: the drained accounts, in order

Pages are not flushed to disk, since they are deleted as soon as they are sealed. The manifest has their digests, which
reveal pages that a machine crash truncated. Their chunk is then downloaded again, by the next run at the latest.

The pages of a feed that was not read to its end stay, and a later attempt adopts them into its own folder: no attempt
ever writes into the folder of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePosixPath
from typing import IO

import msgspec
from upath import UPath

from etl.errors import LandingMissing
from etl.storage import objects
from etl.sync.records import frames

FOLDER = "landing"
"""Folder below the raw root."""

MANIFEST = "manifest.jsonl"
"""Name of the file that lists the drained accounts of an attempt."""


class UnusablePages(ValueError):
    """Pages of an earlier attempt are missing, damaged, or do not continue one another."""


class DrainedAccount(msgspec.Struct, frozen=True):
    """A provider account whose feed was read to its end.

    Parameters
    ----------
    provider_account_id
        The account.
    pages
        The number of its pages.
    digest
        SHA-256 of the frames of its pages, in hexadecimal.
    """

    provider_account_id: int
    pages: int
    digest: str


class Manifest:
    """The list of drained accounts while it is written."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def add(self, account: DrainedAccount) -> None:
        """Append an account."""
        self._stream.write(msgspec.json.encode(account) + b"\n")


@dataclass
class AccountPages:
    """The pages of one account while they arrive, from the first page of its loop.

    Parameters
    ----------
    landing
        The landing that they are written to.
    provider_account_id
        The account.
    pages
        The number of pages so far.
    size
        Bytes of their bodies.
    cursor_to
        The cursor after the last page.
    gaps
        What they say that they lack, each once.
    """

    landing: Landing
    provider_account_id: int
    pages: int = 0
    size: int = 0
    cursor_to: str = ""
    gaps: dict[frames.Gap, None] = field(default_factory=dict)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256, init=False, repr=False)

    def add(self, header: frames.Header, body: bytes) -> None:
        """Write the next page as sent; overwrite the page of an earlier loop that was restarted.

        Raises
        ------
        VolumeFull
            If the volume has almost no free space.
        """
        objects.require_free_space(self.landing.root)
        frame = BytesIO()
        frames.write(frame, header, body)
        objects.put(self.landing.page_path(self.provider_account_id, self.pages), frame.getvalue())
        self._count(frame.getbuffer(), header)

    def adopt(self, earlier: Landing, pages: int, *, cursor_from: str, is_full_read: bool) -> frozenset[str]:
        """Take over the first pages of a feed from an earlier attempt, and return the cursors that lead to them.

        Parameters
        ----------
        cursor_from
            The stored cursor, which the first page names as the one that it continues from.
        is_full_read
            Whether the first page is in fact the beginning of the feed, which then comes past the stored cursor.

        Raises
        ------
        UnusablePages
            If a page is missing or damaged, or does not continue from the one before.
        """
        cursors = {"" if is_full_read else cursor_from}
        for page in range(pages):
            expected_cursor = self.cursor_to if page else cursor_from
            header = self._adopt_page(earlier, page)
            if (header.page, header.cursor_from) != (page, expected_cursor):
                raise UnusablePages(f"page {page} does not continue from the one before")
            cursors.add(header.cursor_to)
        return frozenset(cursors)

    def _adopt_page(self, earlier: Landing, page: int) -> frames.Header:
        source, target = (each.page_path(self.provider_account_id, page) for each in (earlier, self.landing))
        try:
            frame = objects.link(source, target)
            ((header, _),) = frames.read(BytesIO(frame))
        except (FileNotFoundError, ValueError) as error:
            raise UnusablePages(f"page {page}: {error}") from None
        self._count(frame, header)
        return header

    def _count(self, frame: bytes | memoryview, header: frames.Header) -> None:
        self._digest.update(frame)
        self.pages += 1
        self.size += header.size
        self.cursor_to = header.cursor_to
        self.gaps |= dict.fromkeys(header.gaps)

    @property
    def digest(self) -> str:
        """SHA-256 of the frames of the pages so far, in hexadecimal."""
        return self._digest.hexdigest()

    def finish(self) -> DrainedAccount:
        """Return the account's entry for the manifest; call it after its last page."""
        return DrainedAccount(self.provider_account_id, self.pages, self.digest)


@dataclass(frozen=True)
class Landing:
    """The pages of one attempt.

    Parameters
    ----------
    root
        The raw root.
    chunk_id, attempt
        The chunk and its download attempt.
    """

    root: UPath
    chunk_id: int
    attempt: int

    @property
    def folder(self) -> UPath:
        """Folder of the attempt."""
        return self.root / FOLDER / str(self.chunk_id) / str(self.attempt)

    def account_pages(self, provider_account_id: int) -> AccountPages:
        """Return an empty `AccountPages` for an account."""
        return AccountPages(self, provider_account_id)

    @contextmanager
    def manifest(self) -> Iterator[Manifest]:
        """Yield the manifest of the attempt, which is published when the block ends without an error."""
        with objects.draft(self.root) as draft:
            yield Manifest(draft.stream)
            draft.publish(self.folder / MANIFEST)

    def read(self) -> Iterator[tuple[frames.Header, bytes]]:
        """Yield every page of the drained accounts with its header, account by account.

        Raises
        ------
        LandingMissing
            If the attempt was not finished, is not below this root, or differs from what was received.
        """
        try:
            with (self.folder / MANIFEST).open("rb") as manifest:
                for line in manifest:
                    yield from self._read_account(msgspec.json.decode(line, type=DrainedAccount))
        except (FileNotFoundError, ValueError):
            # Invalid frames, JSON and Unicode all raise a ValueError.
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

    def remove(self, *, kept: Collection[tuple[int, int]] = ()) -> None:
        """Remove the pages of this attempt and of all earlier attempts of the chunk.

        Parameters
        ----------
        kept
            Attempts and accounts whose pages stay, since a later download continues from them.
        """
        for attempt in range(1, self.attempt + 1):
            folder = self.folder.parent / str(attempt)
            if not any(kept_attempt == attempt for kept_attempt, _ in kept) or not folder.exists():
                objects.remove_tree(folder)
                continue
            for path in list(folder.iterdir()):
                if path.is_dir() and (attempt, int(path.name)) not in kept:
                    objects.remove_tree(path)
            (folder / MANIFEST).unlink(missing_ok=True)

    def page_path(self, provider_account_id: int, page: int) -> UPath:
        """Return the path of a page."""
        return self.folder / str(provider_account_id) / f"{page:06d}"


def folder_of(path: UPath, root: UPath) -> tuple[int, int, int] | None:
    """Return chunk, attempt and account of a landed page's file; None if it is none."""
    if not path.is_relative_to(root / FOLDER):
        return None
    match PurePosixPath(path.relative_to(root / FOLDER).as_posix()).parts:
        case (chunk, attempt, account, _) if chunk.isdecimal() and attempt.isdecimal() and account.isdecimal():
            return int(chunk), int(attempt), int(account)
    return None
