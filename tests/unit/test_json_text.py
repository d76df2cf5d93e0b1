import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.json_text import MAX_DEPTH, repair, repair_unicode


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_json_in_valid_unicode_is_unchanged(value: dict[str, object]) -> None:
    for body in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert json.loads(repair_unicode(body.encode())) == value


@pytest.mark.parametrize(
    ("sent", "repaired"),
    [
        (rb'"caf\ud83d"', "caf\ufffd"),
        (rb'"\ude00 caf"', "\ufffd caf"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"a backslash \\ud83d"', "a backslash \\ud83d"),
        (b'"\xff"', "\ufffd"),
        (b'\xef\xbb\xbf"marked"', "marked"),
    ],
)
def test_invalid_unicode_becomes_a_replacement_character(sent: bytes, repaired: str) -> None:
    assert json.loads(repair_unicode(sent)) == repaired


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_that_can_be_decoded_is_not_changed_by_its_repair(value: object) -> None:
    for body in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert repair(body.encode()) == body.encode()


@pytest.mark.parametrize("levels", [1_000, 200_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"]":', b"}]")])
def test_values_below_the_deepest_level_become_null(levels: int, opening: bytes, closing: bytes) -> None:
    body = b'{"deep": %s1%s, "text": "[[{\\"]", "after": [[2]]}' % (opening * levels, closing * levels)
    repaired = repair(body)
    assert json.loads(repaired)["text"] == '[[{"]'
    assert json.loads(repaired)["after"] == [[2]]
    assert repaired.count(b"null") == 1
    assert repaired.count(opening[:1]) <= MAX_DEPTH + 10


@pytest.mark.parametrize("body", [b"[" * 100_000, b"]" * 100_000, b'"' + b"[" * 100_000, b""])
def test_what_is_no_json_stays_so(body: bytes) -> None:
    assert repair(body) == body
