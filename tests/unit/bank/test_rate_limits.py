import pytest

from dev.bank.api.errors import RateLimitExceeded
from dev.bank.api.rate_limits import PLAID_LIMITS, LimitsInvalid, RateLimits

SYNC = "/transactions/sync"


def count_granted(limits: RateLimits, path: str, items: list[int], *, now: float = 0.0) -> int:
    for number, item in enumerate(items):
        try:
            limits.take(path, item, now=now)
        except RateLimitExceeded:
            return number
    return len(items)


@pytest.mark.parametrize("path", PLAID_LIMITS)
def test_an_item_is_granted_its_limit_and_no_more(path: str) -> None:
    assert count_granted(RateLimits(), path, [7] * 200) == PLAID_LIMITS[path].per_item


@pytest.mark.parametrize(
    ("path", "of_item", "of_client"),
    [
        (SYNC, 50, 2_500),
        ("/accounts/get", 15, 15_000),
        ("/accounts/balance/get", 5, 1_200),
        ("/item/get", 15, 5_000),
    ],
)
def test_limits_are_plaids(path: str, of_item: int, of_client: int) -> None:
    assert (PLAID_LIMITS[path].per_item, PLAID_LIMITS[path].per_client) == (of_item, of_client)


@pytest.mark.parametrize("path", PLAID_LIMITS)
def test_all_items_share_the_clients_limit(path: str) -> None:
    assert count_granted(RateLimits(), path, list(range(30_000))) == PLAID_LIMITS[path].per_client


def test_endpoints_are_counted_separately() -> None:
    limits = RateLimits()
    count_granted(limits, SYNC, [7] * 60)
    assert count_granted(limits, "/accounts/get", [7] * 15) == 15


def test_the_next_minute_grants_the_same_limit() -> None:
    limits = RateLimits()
    assert count_granted(limits, SYNC, [7] * 60, now=119.9) == 50
    assert count_granted(limits, SYNC, [7] * 60, now=120.0) == 50


def test_a_request_refused_for_the_client_does_not_count_for_the_item() -> None:
    limits = RateLimits(0.02)
    assert count_granted(limits, SYNC, list(range(100))) == 50
    assert count_granted(limits, SYNC, [7], now=60) == 1


def test_an_endpoint_without_a_limit_is_never_refused() -> None:
    assert count_granted(RateLimits(), "/item/public_token/exchange", [7] * 20_000) == 20_000


@pytest.mark.parametrize(("text", "of_item"), [("plaid", 50), ("0.5", 25), ("2", 100), ("0.0001", 1), ("off", 500)])
def test_limits_are_plaids_or_off_or_a_multiple(text: str, of_item: int) -> None:
    assert count_granted(RateLimits.parse(text), SYNC, [7] * 500) == of_item


@pytest.mark.parametrize("text", ["", "on", "0", "-1", "inf", "nan"])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(LimitsInvalid, match="use plaid, off, or a factor above 0"):
        RateLimits.parse(text)


@pytest.mark.parametrize(("now", "wait"), [(0.0, 60), (59.2, 1), (90.0, 30)])
def test_retry_after_is_sent_only_if_enabled(now: float, wait: int) -> None:
    for limits, expected in ((RateLimits(), {}), (RateLimits(sends_retry_after=True), {"Retry-After": str(wait)})):
        count_granted(limits, SYNC, [7] * 50, now=now)
        with pytest.raises(RateLimitExceeded) as caught:
            limits.take(SYNC, 7, now=now)
        assert caught.value.headers == expected
        assert caught.value.error_code == "TRANSACTIONS_SYNC_LIMIT"
