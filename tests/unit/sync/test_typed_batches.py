"""Typed batches: what is written is read, on a volume and in an object store, whatever was written before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from upath import UPath

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.errors import TypedCorrupt, TypedMissing
from etl.sync.records.faults import RecordFault
from etl.sync.records.identity import RecordIdentity
from etl.sync.records.rows import Reject, schema
from etl.sync.store.raw_batches import RawBatch
from etl.sync.store.typed_batches import CursorMove, TypedBatch

NOW = datetime(2026, 11, 20, tzinfo=UTC)
REJECT = Reject(7, 0, NOW, RecordFault("added[0].amount", "type", "bad"), RecordIdentity("t0", None))


@pytest.fixture(params=["volume", "object store"])
def typed(request: pytest.FixtureRequest, tmp_path: Path) -> TypedBatch:
    root = UPath(tmp_path.as_uri() if request.param == "volume" else f"memory://{tmp_path.name}")
    raw_batch = RawBatch(1, "transactions_sync", "hash", "raw/hash", 1, 1, 1, NOW)
    return TypedBatch(root, TRANSACTIONS, raw_batch)


def write(typed: TypedBatch, *row_counts: int, rejects: Sequence[Reject] = ()) -> None:
    """Write a batch of one login with blocks of so many rows, each with its position as `seq`."""
    columns = schema(TRANSACTIONS)
    first = 0
    with typed.write() as writer:
        for count in row_counts:
            values = {field.name: pa.nulls(count, field.type) for field in columns}
            values["seq"] = pa.array(range(first, first + count), columns.field("seq").type)
            writer.write(pa.table(values, columns), [])
            first += count
        move = CursorMove(7, "", "a", whole=False, read=first + len(rejects), rejected=len(rejects))
        writer.write(columns.empty_table(), [move])
        writer.write_rejects(rejects)


def test_all_rows_are_read_in_their_order_and_at_most_ten_thousand_at_once(typed: TypedBatch) -> None:
    write(typed, 1, 0, 25_000)
    blocks = list(typed.rows())
    assert [row for block in blocks for row in block["seq"].to_pylist()] == list(range(25_001))
    assert all(0 < block.num_rows <= 10_000 for block in blocks)
    assert [block.schema.names for block in typed.rows(["removed", "seq"])] == [["seq", "removed"]] * len(blocks)


def test_a_batch_without_rows_or_rejects_is_there(typed: TypedBatch) -> None:
    assert not typed.exists()
    write(typed)
    assert typed.exists()
    assert (list(typed.rows()), list(typed.rejects())) == ([], [])
    assert typed.read_cursor_moves()["cursor_to"].to_pylist() == ["a"]


def test_rejects_are_those_of_the_last_transformation(typed: TypedBatch) -> None:
    write(typed, 1, rejects=[REJECT])
    assert [record for block in typed.rejects() for record in block["record_id"].to_pylist()] == ["t0"]
    write(typed, 2)
    assert list(typed.rejects()) == []


@pytest.mark.parametrize("name", ["rows", "cursors", "rejects"])
def test_a_file_that_is_lost_is_missing_and_never_taken_for_empty(typed: TypedBatch, name: str) -> None:
    write(typed, 1, rejects=[REJECT])
    (typed._folder / f"{name}.arrow").unlink()
    reads = {"rows": typed.rows, "cursors": typed.cursor_moves, "rejects": typed.rejects}
    with pytest.raises(TypedMissing):
        list(reads[name]())


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_truncated_file_says_where_it_is_and_how_to_write_it_again(typed: TypedBatch, share: float) -> None:
    write(typed, 1_000)
    path = next(typed.root.glob("**/rows.arrow"))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(TypedCorrupt, match=r"rows\.arrow is damaged \(.+\); clear the task `transform`"):
        list(typed.rows())
