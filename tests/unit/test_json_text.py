import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.json_text import repair_unicode


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
