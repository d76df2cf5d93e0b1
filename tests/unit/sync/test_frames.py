from datetime import UTC, datetime
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.sync.records import frames


def header(body: bytes) -> frames.Header:
    return frames.Header(
        provider_account_id=7,
        page=0,
        path="/transactions/sync",
        request={"count": 500},
        cursor_from="",
        cursor_to="Y3Vyc29y",
        received_at=datetime(2026, 11, 23, 12, tzinfo=UTC),
        size=len(body),
    )


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_read_back_unchanged(bodies: list[bytes]) -> None:
    stream = BytesIO()
    for body in bodies:
        frames.write(stream, header(body), body)
    stream.seek(0)
    assert list(frames.read(stream)) == [(header(body), body) for body in bodies]


@pytest.mark.parametrize("end", [10, -1, -5])
def test_a_truncated_file_is_detected(end: int) -> None:
    stream = BytesIO()
    frames.write(stream, header(b'{"added": []}'), b'{"added": []}')
    with pytest.raises(frames.BrokenFrame):
        list(frames.read(BytesIO(stream.getvalue()[:end])))
