"""Sealed batches."""

from __future__ import annotations

import pytest
from upath import UPath

from etl import frames
from etl.errors import RawCorrupt, RawMissing
from etl.stores import objects, raw
from etl.stores.warehouse import Warehouse
from tests.unit.etl.test_frames import header

BODIES = [b'{"added": []}', b"anything at all \x00\xff", b""]


@pytest.fixture
def raw_id(warehouse: Warehouse, root: UPath) -> int:
    warehouse.execute(
        "insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size) values ('e','r',0,1,2,1)"
    )
    return seal(warehouse, root)


def seal(warehouse: Warehouse, root: UPath) -> int:
    pages = [(header(body), body) for body in BODIES]
    return raw.seal(warehouse, root, pages, feed="f", chunk_id=1, attempt=1)


def test_pages_come_back_byte_by_byte(warehouse: Warehouse, root: UPath, raw_id: int) -> None:
    batch = raw.find(warehouse, raw_id)
    assert [body for _, body in raw.read(root, batch)] == BODIES
    assert (batch.pages, batch.accounts) == (3, 1)


def test_sealing_again_gives_the_same_batch_and_one_object(warehouse: Warehouse, root: UPath, raw_id: int) -> None:
    assert seal(warehouse, root) == raw_id
    assert len(list((root / "raw").rglob("*.zst"))) == 1


def test_an_object_that_changed_is_noticed(warehouse: Warehouse, root: UPath, raw_id: int) -> None:
    batch = raw.find(warehouse, raw_id)
    with objects.draft(root) as draft:
        import zstandard

        with zstandard.ZstdCompressor().stream_writer(draft.stream, closefd=False) as stream:
            frames.write(stream, header(b"forged"), b"forged")
        draft.publish(root / batch.path)
    with pytest.raises(RawCorrupt, match="no longer has the hash"):
        list(raw.read(root, batch))


def test_an_object_that_is_cut_short_is_noticed(warehouse: Warehouse, root: UPath, raw_id: int) -> None:
    batch = raw.find(warehouse, raw_id)
    path = root / batch.path
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RawCorrupt):
        list(raw.read(root, batch))


def test_a_batch_or_object_that_is_gone_is_named(warehouse: Warehouse, root: UPath, raw_id: int) -> None:
    with pytest.raises(RawMissing, match=r"raw batch 99 is not in etl\.raw_batches"):
        raw.find(warehouse, 99)
    batch = raw.find(warehouse, raw_id)
    (root / batch.path).unlink()
    with pytest.raises(RawMissing, match=f"raw batch {raw_id} is not in"):
        list(raw.read(root, batch))


def test_a_draft_that_is_not_published_leaves_nothing(root: UPath) -> None:
    with pytest.raises(KeyError), objects.draft(root) as draft:
        draft.stream.write(b"half")
        raise KeyError
    assert [path for path in root.rglob("*") if path.is_file()] == []
