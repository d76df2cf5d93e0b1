"""How many logins that fail in the same way have one cause."""

from __future__ import annotations

import pytest

from etl.sync.breaker import is_systematic, is_wave


@pytest.mark.parametrize(
    ("count", "asked", "expected"),
    [
        (0, 0, False),
        (1, 1, False),
        (2, 2, False),
        (1, 3, False),
        (2, 3, True),
        (2, 4, True),
        (2, 5, False),
        (20, 100, False),
        (21, 100, True),
        (20, 41, False),
        (20, 40, True),
        (50, 1_000, False),
        (51, 1_000, True),
        (500, 10_000, False),
        (501, 10_000, True),
    ],
)
def test_half_of_three_or_more_than_twenty_and_a_twentieth_are_systematic(
    count: int, asked: int, expected: bool
) -> None:
    assert is_systematic(count, asked) is expected


@pytest.mark.parametrize(
    ("count", "asked", "expected"),
    [(0, 0, False), (4, 20, False), (5, 240, True), (19, 1_000, False), (20, 1_000, True)],
)
def test_five_stops_that_are_a_fiftieth_are_a_wave(count: int, asked: int, expected: bool) -> None:
    assert is_wave(count, asked) is expected
