from collections.abc import Callable
from typing import Any

import httpx
import pytest

Send = Callable[..., httpx.Response]
DAY = "/sandbox/day"
SYNC = "/transactions/sync"


def today(send: Send) -> str:
    return str(send("/health", method="GET").json()["day"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({"advance": 3}, "2026-07-02"), ({"advance": 0}, "2026-06-29"), ({"day": "2026-08-01"}, "2026-08-01")],
)
def test_the_day_advances_by_days_or_to_a_day(send: Send, fields: dict[str, Any], expected: str) -> None:
    assert send(DAY, fields).json()["day"] == expected
    assert today(send) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"day": "2026-06-28"}, "the day never goes back"),
        ({}, 'send either {"advance": <days>} or {"day": "YYYY-MM-DD"}'),
        ({"advance": 1, "day": "2026-08-01"}, "send either"),
        ({"advance": -1}, "Expected `int` >= 0"),
        ({"day": "tomorrow"}, "Invalid RFC3339"),
    ],
)
def test_other_changes_of_the_day_are_refused(send: Send, fields: dict[str, Any], message: str) -> None:
    response = send(DAY, fields)
    assert (response.status_code, response.json()["error_code"]) == (400, "INVALID_FIELD")
    assert message in response.json()["error_message"]
    assert today(send) == "2026-06-29"


def test_the_day_cannot_advance_beyond_the_calendar(send: Send) -> None:
    send(DAY, {"day": "9999-12-30"})
    assert "the calendar ends before" in send(DAY, {"advance": 2}).json()["error_message"]


def test_a_later_day_has_more_transactions(send: Send, access_token: str) -> None:
    cursor = send(SYNC, {"access_token": access_token, "count": 500}).json()["next_cursor"]
    assert not send(SYNC, {"access_token": access_token, "cursor": cursor}).json()["added"]
    send(DAY, {"advance": 4})
    assert send(SYNC, {"access_token": access_token, "cursor": cursor}).json()["added"]


@pytest.mark.parametrize("path", [DAY, "/sandbox/faults"])
def test_sandbox_endpoints_require_credentials(send: Send, path: str) -> None:
    response = send(path, {"advance": 1, "faults": {}}, headers={"PLAID-CLIENT-ID": "client", "PLAID-SECRET": "wrong"})
    assert response.json()["error_code"] == "INVALID_API_KEYS"


def test_rate_limits_apply_to_requests(send: Send, access_token: str) -> None:
    responses = [send("/accounts/balance/get", {"access_token": access_token}) for _ in range(6)]
    assert [each.status_code for each in responses] == [200] * 5 + [429]
    assert responses[-1].json()["error_code"] == "ACCOUNTS_BALANCE_GET_LIMIT"
