from __future__ import annotations

import pytest

from etl.sync.rejected_record import record_at

PAGE = (
    b'{"added": [{"n": 1.50}, {"parties": [{"id": "a"}, {"id":  "b"}], "x": null}], "note": "\xf0\x9f\xa5\x90", '
    b'"data": {"new-rows": [{}, {"n": 2}]}}'
)


@pytest.mark.parametrize(
    ("path", "record"),
    [
        ("added[0].n", b'{"n": 1.50}'),
        ("added[0]", b'{"n": 1.50}'),
        ("added[1].parties[1].id", b'{"id":  "b"}'),
        ("added[1].x", b'{"parties": [{"id": "a"}, {"id":  "b"}], "x": null}'),
        ("data.new-rows[1].n", b'{"n": 2}'),
        ("added[7].n", PAGE),
        ("gone[0]", PAGE),
        ("$", PAGE),
    ],
)
def test_a_record_is_returned_by_its_path_as_it_was_sent(path: str, record: bytes) -> None:
    assert record_at(PAGE, path) == record


def test_a_page_that_is_not_json_is_returned_whole() -> None:
    assert record_at(b"<html>", "added[0]") == b"<html>"
