"""How many logins that fail in the same way have one cause."""

from __future__ import annotations

import pytest

from etl.sync.logins.breaker import is_systematic, is_wave


@pytest.mark.parametrize(
    ("count", "asked"), [(2, 3), (2, 4), (20, 40), (21, 100), (51, 1_000), (501, 10_000), (30, 30)]
)
def test_half_of_three_logins_or_more_than_twenty_and_a_twentieth_have_one_cause(count: int, asked: int) -> None:
    assert is_systematic(count, asked)


@pytest.mark.parametrize(
    ("count", "asked"),
    [(0, 0), (0, 3), (1, 1), (2, 2), (1, 3), (2, 5), (20, 41), (20, 100), (50, 1_000), (500, 10_000)],
)
def test_fewer_have_causes_of_their_own(count: int, asked: int) -> None:
    assert not is_systematic(count, asked)


@pytest.mark.parametrize(("count", "asked"), [(5, 240), (20, 1_000)])
def test_five_stops_that_are_a_fiftieth_are_a_wave(count: int, asked: int) -> None:
    assert is_wave(count, asked)


@pytest.mark.parametrize(("count", "asked"), [(0, 0), (4, 20), (19, 1_000)])
def test_fewer_stops_are_no_wave(count: int, asked: int) -> None:
    assert not is_wave(count, asked)
