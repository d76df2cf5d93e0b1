from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.chunking import Chunk, DayRange, EmptyChunk, count_chunks


def test_a_chunk_contains_its_start_and_not_its_stop() -> None:
    chunk = Chunk(4, 9)
    assert 4 in chunk
    assert 8 in chunk
    assert 9 not in chunk
    assert str(chunk) == "4–8"


def test_an_empty_chunk_is_refused_with_its_bounds_and_the_fix() -> None:
    with pytest.raises(EmptyChunk, match="chunk 9–4 is empty; stop must exceed start"):
        Chunk(9, 4)


@given(rows=st.integers(0, 10**9), size=st.integers(1, 10**6), maximum=st.integers(1, 1_000))
def test_chunks_are_as_few_as_their_size_allows_and_never_more_than_the_maximum(
    rows: int, size: int, maximum: int
) -> None:
    chunks = count_chunks(rows, size=size, maximum=maximum)
    assert chunks <= maximum
    assert chunks * size >= rows or chunks == maximum
    assert chunks == 0 or (chunks - 1) * size < rows


def test_days_are_split_into_parts_that_follow_one_another() -> None:
    days = DayRange(date(2026, 11, 1), date(2026, 11, 7))
    assert [str(part) for part in days.split(3)] == [
        "2026-11-01 to 2026-11-03",
        "2026-11-04 to 2026-11-06",
        "2026-11-07",
    ]
    assert days.split(7) == days.split(90) == [days]


def test_zero_rows_give_no_chunk() -> None:
    assert count_chunks(0, size=10, maximum=64) == 0


@pytest.mark.parametrize(("rows", "size", "maximum"), [(-1, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_impossible_sizes_are_refused(rows: int, size: int, maximum: int) -> None:
    with pytest.raises(ValueError, match="size and maximum must be at least 1, rows at least 0"):
        count_chunks(rows, size=size, maximum=maximum)
