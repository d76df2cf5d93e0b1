"""Raw batches, and the landing files from which they are sealed."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from upath import UPath

from etl.db.connection import Connection
from etl.errors import LandingMissing, RawCorrupt, RawMissing
from etl.storage import objects
from etl.sync.records import frames
from etl.sync.store import raw_batches
from etl.sync.store.landing import DrainedAccount, Landing
from tests.unit.sync.test_frames import header

BODIES = [b'{"added": []}', b"anything at all \x00\xff", b""]


@pytest.fixture(params=["file", "memory"], ids=["volume", "object store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> UPath:
    return UPath(f"file://{tmp_path}/raw" if request.param == "file" else f"memory://{tmp_path.name}/raw")


@pytest.fixture
def raw_id(db: Connection, root: UPath) -> int:
    db.execute("insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size) values ('e','r',0,1,2,1)")
    return seal(db, root)


def seal(db: Connection, root: UPath) -> int:
    pages = [(header(body), body) for body in BODIES]
    return raw_batches.seal(db, root, pages, source="f", chunk_id=1, attempt=1)


def test_pages_are_read_back_unchanged(db: Connection, root: UPath, raw_id: int) -> None:
    batch = raw_batches.find(db, raw_id)
    assert [body for _, body in raw_batches.read(root, batch)] == BODIES
    assert (batch.pages, batch.accounts) == (3, 1)


def test_sealing_twice_gives_the_same_batch_and_one_object(db: Connection, root: UPath, raw_id: int) -> None:
    assert seal(db, root) == raw_id
    assert len(list((root / "raw").rglob("*.zst"))) == 1


def test_a_changed_object_is_detected(db: Connection, root: UPath, raw_id: int) -> None:
    batch = raw_batches.find(db, raw_id)
    with objects.draft(root) as draft:
        import zstandard

        with zstandard.ZstdCompressor().stream_writer(draft.stream, closefd=False) as stream:
            frames.write(stream, header(b"forged"), b"forged")
        draft.publish(root / batch.path)
    with pytest.raises(RawCorrupt, match="no longer has the hash"):
        list(raw_batches.read(root, batch))


def test_a_truncated_object_is_detected(db: Connection, root: UPath, raw_id: int) -> None:
    batch = raw_batches.find(db, raw_id)
    path = root / batch.path
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RawCorrupt):
        list(raw_batches.read(root, batch))


def test_a_missing_batch_or_object_is_named(db: Connection, root: UPath, raw_id: int) -> None:
    with pytest.raises(RawMissing, match=r"raw batch 99 is not in etl\.raw_batches"):
        raw_batches.find(db, 99)
    batch = raw_batches.find(db, raw_id)
    (root / batch.path).unlink()
    with pytest.raises(RawMissing, match=f"raw batch {raw_id} is not in"):
        list(raw_batches.read(root, batch))


def test_an_unpublished_draft_leaves_no_file(root: UPath) -> None:
    with pytest.raises(KeyError), objects.draft(root) as draft:
        draft.stream.write(b"half")
        raise KeyError
    assert [path for path in root.rglob("*") if path.is_file()] == []


def land(landing: Landing, *bodies: bytes) -> DrainedAccount:
    """Write an account's pages to the landing folder."""
    account_pages = landing.account_pages(7)
    for page, body in enumerate(bodies):
        account_pages.add(replace(header(body), page=page), body)
    return account_pages.finish()


def test_only_the_final_pages_of_drained_accounts_are_read_back(root: UPath) -> None:
    landing = Landing(root, chunk_id=1, attempt=2)
    with landing.manifest() as manifest:
        land(landing, b"of", b"a loop", b"that was restarted")
        landing.account_pages(8).add(replace(header(b"half"), provider_account_id=8), b"half")
        manifest.add(land(landing, b"first", b"second"))
    assert [body for _, body in landing.read()] == [b"first", b"second"]
    landing.remove()
    with pytest.raises(LandingMissing, match="chunk 1, attempt 2"):
        list(landing.read())


@pytest.mark.parametrize(
    "damage", [b"", b"\xff{}\n", slice(0, -3), slice(0, 40), None], ids=["nothing", "no text", "less", "half", "zeros"]
)
def test_pages_that_a_machine_crash_damaged_are_not_sealed(root: UPath, damage: bytes | slice | None) -> None:
    landing = Landing(root, chunk_id=1, attempt=1)
    with landing.manifest() as manifest:
        manifest.add(land(landing, b"first", b"second"))
    page = landing.page_path(7, 1)
    content = page.read_bytes()
    match damage:
        case bytes():
            page.write_bytes(damage)
        case slice():
            page.write_bytes(content[damage])
        case None:
            page.write_bytes(content.replace(b"second", bytes(6)))
    with pytest.raises(LandingMissing, match="chunk 1, attempt 1"):
        list(landing.read())


def test_a_manifest_without_digests_is_not_a_finished_download(root: UPath) -> None:
    landing = Landing(root, chunk_id=1, attempt=1)
    with landing.manifest():
        land(landing, b"page")
    (landing.folder / "manifest.jsonl").write_bytes(b'{"provider_account_id":7,"pages":1}\n')
    with pytest.raises(LandingMissing, match="clear the task `download`"):
        list(landing.read())


def test_a_download_that_dies_leaves_no_manifest(root: UPath) -> None:
    landing = Landing(root, chunk_id=1, attempt=1)
    with pytest.raises(KeyError), landing.manifest():
        land(landing, b"page")
        raise KeyError
    with pytest.raises(LandingMissing):
        list(landing.read())
