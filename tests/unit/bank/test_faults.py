from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.bank.faults import Fault, FaultRateInvalid, Faults, FaultUnknown
from dev.bank.feed.feed import EventOffset
from dev.bank.world.seed import Key

KEY = Key.of("seed")
SYNC = "/transactions/sync"
faults = st.sampled_from(Fault)


def draw(faults: Faults, fault: Fault, number: int = 2_000) -> list[bool]:
    return [faults.strikes(KEY, fault, faults.count_request(7, SYNC)) for _ in range(number)]


@given(faults)
def test_a_disabled_fault_never_strikes(fault: Fault) -> None:
    assert not any(draw(Faults(), fault, 5))
    assert not any(draw(Faults({fault.value: 0}), fault, 5))


@given(faults)
def test_a_rate_of_one_always_strikes(fault: Fault) -> None:
    assert all(draw(Faults({fault.value: 1}), fault, 50))


@given(faults)
def test_a_rate_below_one_is_the_share_of_strikes(fault: Fault) -> None:
    assert 0.25 < sum(draw(Faults({fault.value: 0.3}), fault)) / 2_000 < 0.35


def test_the_same_requests_meet_the_same_faults() -> None:
    assert draw(Faults({"slow": 0.5}), Fault.SLOW) == draw(Faults({"slow": 0.5}), Fault.SLOW)


def test_faults_are_drawn_separately() -> None:
    both = Faults({"slow": 0.5, "timeout": 0.5})
    requests = [both.count_request(7, SYNC) for _ in range(100)]
    slow, timeout = ([both.strikes(KEY, fault, each) for each in requests] for fault in (Fault.SLOW, Fault.TIMEOUT))
    assert slow != timeout


def test_items_endpoints_and_seeds_are_drawn_separately() -> None:
    faults = Faults({"slow": 0.5})
    paths = [[faults.count_request(item, path) for _ in range(100)] for item in (7, 8) for path in (SYNC, "/item/get")]
    drawn = {
        tuple(faults.strikes(key, Fault.SLOW, each) for each in path) for path in paths for key in (KEY, Key.of("a"))
    }
    assert len(drawn) == 8


def test_setting_rates_counts_requests_from_one_again() -> None:
    faults = Faults({"slow": 0.5})
    first = draw(faults, Fault.SLOW, 50)
    faults.set_rates({"slow": 0.5})
    assert draw(faults, Fault.SLOW, 50) == first


def test_faults_that_are_not_named_are_disabled() -> None:
    faults = Faults({"slow": 0.5, "timeout": 1})
    faults.set_rates({"timeout": 0.5})
    assert faults.rates == {"timeout": 0.5}
    assert faults.any_enabled(Fault.SLOW, Fault.TIMEOUT)
    assert not faults.any_enabled(Fault.SLOW)


@pytest.mark.parametrize("rates", [{"slow": 1.1}, {"slow": -0.1}, {"slow": float("nan")}])
def test_an_invalid_rate_is_refused_and_nothing_changes(rates: dict[str, float]) -> None:
    faults = Faults({"timeout": 1})
    with pytest.raises(FaultRateInvalid, match="it must be 0 to 1"):
        faults.set_rates(rates)
    assert faults.rates == {"timeout": 1}


def test_an_unknown_fault_is_refused_and_the_valid_ones_are_named() -> None:
    with pytest.raises(FaultUnknown, match=r"there is no fault 'slwo'; choose from server_error, .*slow"):
        Faults({"slwo": 1})


def test_a_mutation_strikes_a_loop_only_once() -> None:
    faults = Faults({"mutation": 1})
    one, other = EventOffset(date(2026, 6, 29), 3), EventOffset(date(2026, 6, 30), 1)
    strikes = [
        faults.strikes_mutation(KEY, 7, loop_start, cursor)
        for loop_start, cursor in ((one, "b"), (one, "b"), (one, "c"), (other, "d"))
    ]
    assert strikes == [True, False, False, True]
    assert faults.strikes_mutation(KEY, 8, one, "b")


def test_a_locked_item_stays_locked_until_it_is_restored() -> None:
    faults = Faults({"login_required": 0.5})
    locked = [item for item in range(200) if faults.strikes_item(KEY, Fault.LOGIN_REQUIRED, item)]
    assert 70 < len(locked) < 130
    assert locked == [item for item in range(200) if faults.strikes_item(KEY, Fault.LOGIN_REQUIRED, item)]
    faults.restore_item(locked[0])
    assert locked[1:] == [item for item in range(200) if faults.strikes_item(KEY, Fault.LOGIN_REQUIRED, item)]


def test_linking_an_item_for_the_first_time_restores_nothing() -> None:
    faults = Faults({"login_required": 1})
    faults.restore_item(7)
    assert faults.strikes_item(KEY, Fault.LOGIN_REQUIRED, 7)
