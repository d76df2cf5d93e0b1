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


def draws(faults: Faults, fault: Fault, number: int = 2_000) -> list[bool]:
    return [faults.strikes(KEY, fault, faults.count_request(7, SYNC)) for _ in range(number)]


@given(faults)
def test_nothing_goes_wrong_unless_it_is_switched_on(fault: Fault) -> None:
    assert not any(draws(Faults(), fault, 5))
    assert not any(draws(Faults({fault.value: 0}), fault, 5))


@given(faults)
def test_a_rate_of_one_strikes_always(fault: Fault) -> None:
    assert all(draws(Faults({fault.value: 1}), fault, 50))


@given(faults)
def test_a_rate_below_one_strikes_as_often_as_it_says(fault: Fault) -> None:
    assert 0.25 < sum(draws(Faults({fault.value: 0.3}), fault)) / 2_000 < 0.35


def test_the_same_requests_meet_the_same_faults() -> None:
    assert draws(Faults({"slow": 0.5}), Fault.SLOW) == draws(Faults({"slow": 0.5}), Fault.SLOW)


def test_faults_are_drawn_apart() -> None:
    both = Faults({"slow": 0.5, "timeout": 0.5})
    requests = [both.count_request(7, SYNC) for _ in range(100)]
    slow, hanging = ([both.strikes(KEY, fault, each) for each in requests] for fault in (Fault.SLOW, Fault.TIMEOUT))
    assert slow != hanging


def test_items_and_endpoints_and_seeds_are_drawn_apart() -> None:
    faults = Faults({"slow": 0.5})
    paths = [[faults.count_request(item, path) for _ in range(100)] for item in (7, 8) for path in (SYNC, "/item/get")]
    drawn = {
        tuple(faults.strikes(key, Fault.SLOW, each) for each in path) for path in paths for key in (KEY, Key.of("a"))
    }
    assert len(drawn) == 8


def test_switching_begins_again_from_the_first_request() -> None:
    faults = Faults({"slow": 0.5})
    first = draws(faults, Fault.SLOW, 50)
    faults.set_rates({"slow": 0.5})
    assert draws(faults, Fault.SLOW, 50) == first


def test_what_is_not_named_is_switched_off() -> None:
    faults = Faults({"slow": 0.5, "timeout": 1})
    faults.set_rates({"timeout": 0.5})
    assert faults.rates == {"timeout": 0.5}
    assert faults.any_enabled(Fault.SLOW, Fault.TIMEOUT)
    assert not faults.any_enabled(Fault.SLOW)


@pytest.mark.parametrize("rates", [{"slow": 1.1}, {"slow": -0.1}, {"slow": float("nan")}])
def test_a_rate_that_is_no_share_is_refused_and_nothing_changes(rates: dict[str, float]) -> None:
    faults = Faults({"timeout": 1})
    with pytest.raises(FaultRateInvalid, match="it must be 0 to 1"):
        faults.set_rates(rates)
    assert faults.rates == {"timeout": 1}


def test_an_unknown_fault_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(FaultUnknown, match=r"there is no fault 'slwo'; choose from server_error, .*slow"):
        Faults({"slwo": 1})


def test_a_loop_meets_a_mutation_only_once() -> None:
    faults = Faults({"mutation": 1})
    one, other = EventOffset(date(2026, 6, 29), 3), EventOffset(date(2026, 6, 30), 1)
    met = [
        faults.strikes_mutation(KEY, 7, since, cursor)
        for since, cursor in ((one, "b"), (one, "b"), (one, "c"), (other, "d"))
    ]
    assert met == [True, False, False, True]
    assert faults.strikes_mutation(KEY, 8, one, "b")


def test_a_locked_item_stays_locked_until_it_is_forgiven() -> None:
    faults = Faults({"login_required": 0.5})
    locked = [item for item in range(200) if faults.strikes_item(KEY, Fault.LOGIN_REQUIRED, item)]
    assert 70 < len(locked) < 130
    assert locked == [item for item in range(200) if faults.strikes_item(KEY, Fault.LOGIN_REQUIRED, item)]
    faults.restore_item(locked[0])
    assert locked[1:] == [item for item in range(200) if faults.strikes_item(KEY, Fault.LOGIN_REQUIRED, item)]


def test_linking_an_item_for_the_first_time_forgives_nothing() -> None:
    faults = Faults({"login_required": 1})
    faults.restore_item(7)
    assert faults.strikes_item(KEY, Fault.LOGIN_REQUIRED, 7)
