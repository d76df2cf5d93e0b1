from datetime import UTC, datetime, timedelta

import pytest

from etl.alerts.alert import ChunkProgress
from etl.alerts.eta import PastRun, estimate_finish
from tests.unit.alerts.samples import minutes

START = datetime(2026, 11, 24, tzinfo=UTC)
EARLIER = [PastRun(minutes(10), 5)] * 3


def remaining(progress: ChunkProgress, history: list[PastRun], *, after: timedelta | None) -> timedelta | None:
    now = START + (after or timedelta())
    estimate = estimate_finish(progress, history, started_at=None if after is None else START, as_of=now)
    return estimate.finish_at - now if estimate else None


def test_without_history_each_missing_chunk_takes_as_long_as_those_before() -> None:
    assert remaining(ChunkProgress(4, 1), [], after=minutes(10)) == minutes(30)


def test_first_run_without_loaded_chunks_has_no_estimate() -> None:
    assert remaining(ChunkProgress(4, 0), [], after=minutes(10)) is None
    assert remaining(ChunkProgress(), [], after=minutes(10)) is None


def test_a_run_at_its_usual_pace_ends_at_its_usual_time() -> None:
    assert remaining(ChunkProgress(5, 2), EARLIER, after=minutes(4)) == minutes(6)


def test_earlier_runs_soften_one_slow_chunk_but_never_outweigh_many() -> None:
    one = remaining(ChunkProgress(5, 1), EARLIER, after=minutes(10))
    assert one is not None
    assert minutes(4 * 2) < one < minutes(4 * 10)
    many = remaining(ChunkProgress(100, 50), EARLIER, after=minutes(500))
    assert many is not None
    assert many > minutes(450)


def test_estimate_of_a_stalled_run_keeps_moving_later() -> None:
    estimates = [remaining(ChunkProgress(5, 0), EARLIER, after=minutes(after)) for after in (0, 30, 60)]
    assert all(item is not None for item in estimates)
    assert estimates == sorted(estimates, key=lambda item: item or timedelta())
    assert estimates[0] == minutes(10)


def test_a_run_whose_chunks_are_all_loaded_is_done() -> None:
    assert remaining(ChunkProgress(5, 5), EARLIER, after=minutes(90)) == timedelta()


@pytest.mark.parametrize(("after", "expected"), [(None, 10), (4, 6), (10, 0), (14, 4)])
def test_run_without_chunks_takes_the_median_or_past_it_its_overrun_once_more(
    after: float | None, expected: float
) -> None:
    assert remaining(ChunkProgress(), EARLIER, after=None if after is None else minutes(after)) == minutes(expected)


def test_one_outlier_run_does_not_change_the_estimate() -> None:
    odd = [*EARLIER, PastRun(minutes(600), 5)]
    assert remaining(ChunkProgress(5, 0), odd, after=timedelta()) == minutes(10)


def test_estimate_describes_its_basis() -> None:
    estimate = estimate_finish(ChunkProgress(5, 3), EARLIER, started_at=START, as_of=START + minutes(31))
    assert estimate is not None
    assert estimate.basis == "3 of 5 chunks loaded in 31 min; earlier runs took 10 min (median of 3)"
