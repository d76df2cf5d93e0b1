import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from dev.bank.api import fault_injection
from dev.bank.faults import Fault

Send = Callable[..., httpx.Response]
SYNC = "/transactions/sync"
FAULTS = "/sandbox/faults"


@pytest.fixture
def sync(send: Send, access_token: str) -> Callable[..., httpx.Response]:
    return lambda **fields: send(SYNC, {"access_token": access_token, "count": 500, **fields})


Sync = Callable[..., httpx.Response]


def set_faults(send: Send, **rates: float) -> None:
    assert send(FAULTS, {"faults": rates}).json()["faults"] == {name: rate for name, rate in rates.items() if rate}


def error(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    return response.status_code, body["error_type"], body["error_code"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("server_error", (500, "API_ERROR", "INTERNAL_SERVER_ERROR")),
        ("rate_limit", (429, "RATE_LIMIT_EXCEEDED", "TRANSACTIONS_SYNC_LIMIT")),
        ("rate_limit_retry_after", (429, "RATE_LIMIT_EXCEEDED", "TRANSACTIONS_SYNC_LIMIT")),
        ("login_required", (400, "ITEM_ERROR", "ITEM_LOGIN_REQUIRED")),
        ("revoked", (400, "ITEM_ERROR", "USER_PERMISSION_REVOKED")),
    ],
)
def test_a_fault_returns_the_providers_error(
    send: Send, sync: Sync, fault: str, expected: tuple[int, str, str]
) -> None:
    set_faults(send, **{fault: 1})
    assert [error(sync()) for _ in range(3)] == [expected] * 3
    set_faults(send)
    assert sync().status_code == 200


@pytest.mark.parametrize(("fault", "retry_after"), [("rate_limit", None), ("rate_limit_retry_after", "1")])
def test_a_rate_limit_may_send_retry_after(send: Send, sync: Sync, fault: str, retry_after: str | None) -> None:
    set_faults(send, **{fault: 1})
    assert sync().headers.get("retry-after") == retry_after


@pytest.mark.parametrize(("fault", "status"), [("not_json", 200), ("bad_gateway", 502)])
def test_an_html_page_is_not_json(send: Send, sync: Sync, fault: str, status: int) -> None:
    set_faults(send, **{fault: 1})
    response = sync()
    assert (response.status_code, response.headers["content-type"]) == (status, "text/html; charset=utf-8")
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_a_retry_may_succeed(send: Send, sync: Sync) -> None:
    set_faults(send, server_error=0.5)
    assert Counter(sync(count=1).status_code for _ in range(40)).keys() == {200, 500}


def test_a_slow_response_is_correct(send: Send, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    delays = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    expected = sync().content
    monkeypatch.setattr(asyncio, "sleep", sleep)
    set_faults(send, slow=1)
    assert sync().content == expected
    assert delays == [fault_injection.SLOW_DELAY.total_seconds()]


@pytest.mark.parametrize("path", ["/sandbox/public_token/create", "/sandbox/item/reset_login"])
def test_faults_do_not_apply_to_sandbox_endpoints(send: Send, access_token: str, path: str) -> None:
    set_faults(send, server_error=1, timeout=1)
    fields = {"institution_id": "ins_109508", "initial_products": ["auth"], "access_token": access_token}
    assert send(path, fields).status_code == 200


def test_an_item_that_is_not_ready_has_empty_lists_and_no_cursor(send: Send, sync: Sync, access_token: str) -> None:
    cursor = sync(cursor="now").json()["next_cursor"]
    set_faults(send, not_ready=1)
    page = sync().json()
    assert (page["added"], page["modified"], page["removed"], page["has_more"]) == ([], [], [], False)
    assert (page["next_cursor"], page["transactions_update_status"]) == ("", "NOT_READY")
    assert sync(cursor=cursor).json()["transactions_update_status"] == "HISTORICAL_UPDATE_COMPLETE"
    window = {"start_date": "2026-06-01", "end_date": "2026-06-29"}
    listed = send("/transactions/get", {"access_token": access_token, **window})
    assert error(listed) == (400, "ITEM_ERROR", "PRODUCT_NOT_READY")


def test_an_item_that_was_not_ready_may_be_ready_at_a_retry(send: Send, sync: Sync) -> None:
    set_faults(send, not_ready=0.5)
    assert {sync().json()["transactions_update_status"] for _ in range(20)} == {
        "NOT_READY",
        "HISTORICAL_UPDATE_COMPLETE",
    }


def test_a_mutation_ends_a_loop_in_its_middle_and_a_restart_succeeds(sync: Sync, send: Send) -> None:
    expected = [each["transaction_id"] for each in sync().json()["added"]]
    set_faults(send, mutation=1)
    drained: list[str] = []
    cursor, restarts = "", 0
    while True:
        response = sync(cursor=cursor, count=60)
        if response.status_code != 200:
            assert error(response) == (400, "TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
            assert cursor
            cursor, restarts = "", restarts + 1
            drained.clear()
            continue
        page = response.json()
        drained += [each["transaction_id"] for each in page["added"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert (drained, restarts) == (expected, 1)


def test_a_loop_of_one_page_meets_no_mutation(sync: Sync, send: Send) -> None:
    set_faults(send, mutation=1)
    assert sync().status_code == 200


def test_a_locked_item_is_open_after_it_is_linked_again(send: Send, sync: Sync) -> None:
    set_faults(send, login_required=1)
    assert error(sync())[2] == "ITEM_LOGIN_REQUIRED"
    fields = {"institution_id": "ins_109508", "initial_products": ["transactions"]}
    created = send("/sandbox/public_token/create", {**fields, "options": {"override_username": "user_7"}})
    send("/item/public_token/exchange", {"public_token": created.json()["public_token"]})
    assert sync().status_code == 200


def test_records_are_sent_twice_on_a_page(send: Send, sync: Sync) -> None:
    once = [each["transaction_id"] for each in sync().json()["added"]]
    set_faults(send, duplicate=1)
    assert [each["transaction_id"] for each in sync().json()["added"]] == [each for each in once for _ in range(2)]


def test_the_first_record_of_a_page_is_on_the_page_before_it_too(send: Send, sync: Sync) -> None:
    set_faults(send, duplicate=1)
    first = sync(count=50).json()
    second = sync(count=50, cursor=first["next_cursor"]).json()
    assert first["added"][-1] == second["added"][0]


@pytest.mark.parametrize(
    ("fault", "is_corrupted"),
    [
        (Fault.UNKNOWN_CURRENCY, lambda each: each["iso_currency_code"] == "ZZZ"),
        (Fault.HUGE_AMOUNT, lambda each: each["amount"] == 10**15),
        (Fault.NUL_NAME, lambda each: "\0" in each["name"]),
        (Fault.EMOJI_NAME, lambda each: "\N{ZERO WIDTH JOINER}" in each["name"]),
        (Fault.MISSING_FIELD, lambda each: "account_id" not in each),
        (Fault.WRONG_TYPE, lambda each: not isinstance(each["amount"], int | float)),
    ],
)
def test_single_records_are_corrupted_and_always_the_same_ones(
    send: Send, sync: Sync, fault: Fault, is_corrupted: Callable[[dict[str, Any]], bool]
) -> None:
    valid = sync().json()["added"]
    assert not any(is_corrupted(each) for each in valid)
    set_faults(send, **{fault.value: 0.2})
    first, second = (sync().json()["added"] for _ in range(2))
    assert first == second
    assert 0.1 < sum(is_corrupted(each) for each in first) / len(first) < 0.3
    assert [each for each in first if not is_corrupted(each)] == [
        before for before, after in zip(valid, first, strict=True) if not is_corrupted(after)
    ]


def test_a_corrupted_amount_leaves_the_others_exact(send: Send, sync: Sync) -> None:
    before = sync().text
    set_faults(send, huge_amount=0.2)
    assert set(sync().text.split(",")) - set(before.split(",")) <= {'"amount":1000000000000000'}


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"slwo": 1}, "there is no fault 'slwo'"),
        ({"slow": 2}, "it must be 0 to 1"),
        ({"slow": "1"}, "Expected `float`"),
    ],
)
def test_invalid_faults_are_refused(send: Send, faults: dict[str, Any], message: str) -> None:
    response = send(FAULTS, {"faults": faults})
    assert error(response) == (400, "INVALID_REQUEST", "INVALID_FIELD")
    assert message in response.json()["error_message"]
