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
    ("turn", "expected"),
    [({"advance": 3}, "2026-07-02"), ({"advance": 0}, "2026-06-29"), ({"day": "2026-08-01"}, "2026-08-01")],
)
def test_the_day_is_turned_by_days_or_to_a_day(send: Send, turn: dict[str, Any], expected: str) -> None:
    assert send(DAY, turn).json()["day"] == expected
    assert today(send) == expected


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({"day": "2026-06-28"}, "days never go back"),
        ({}, 'say either {"advance": <days>} or {"day": "YYYY-MM-DD"}'),
        ({"advance": 1, "day": "2026-08-01"}, "say either"),
        ({"advance": -1}, "Expected `int` >= 0"),
        ({"day": "tomorrow"}, "Invalid RFC3339"),
    ],
)
def test_other_turns_are_refused_and_the_day_stays(send: Send, turn: dict[str, Any], message: str) -> None:
    answer = send(DAY, turn)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_FIELD")
    assert message in answer.json()["error_message"]
    assert today(send) == "2026-06-29"


def test_the_calendar_ends(send: Send) -> None:
    send(DAY, {"day": "9999-12-30"})
    assert "the calendar ends before" in send(DAY, {"advance": 2}).json()["error_message"]


def test_a_later_day_brings_more(send: Send, access_token: str) -> None:
    cursor = send(SYNC, {"access_token": access_token, "count": 500}).json()["next_cursor"]
    assert not send(SYNC, {"access_token": access_token, "cursor": cursor}).json()["added"]
    send(DAY, {"advance": 4})
    assert send(SYNC, {"access_token": access_token, "cursor": cursor}).json()["added"]


@pytest.mark.parametrize("path", [DAY, "/sandbox/faults"])
def test_levers_are_the_clients(send: Send, path: str) -> None:
    answer = send(path, {"advance": 1, "faults": {}}, headers={"PLAID-CLIENT-ID": "client", "PLAID-SECRET": "wrong"})
    assert answer.json()["error_code"] == "INVALID_API_KEYS"


def test_limits_hold_over_the_wire(send: Send, access_token: str) -> None:
    answers = [send("/accounts/balance/get", {"access_token": access_token}) for _ in range(6)]
    assert [each.status_code for each in answers] == [200] * 5 + [429]
    assert answers[-1].json()["error_code"] == "ACCOUNTS_BALANCE_GET_LIMIT"
