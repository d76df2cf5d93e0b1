"""Faults of logins and accounts."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Send = Callable[..., httpx.Response]
SYNC = "/transactions/sync"


def set_faults(send: Send, **rates: float) -> None:
    send("/sandbox/faults", {"faults": rates}).raise_for_status()


def link(send: Send, item: int) -> dict[str, Any]:
    fields = {
        "institution_id": "ins_109508",
        "initial_products": ["transactions"],
        "options": {"override_username": f"user_{item}"},
    }
    public_token = send("/sandbox/public_token/create", fields).json()["public_token"]
    exchanged: dict[str, Any] = send("/item/public_token/exchange", {"public_token": public_token}).json()
    return exchanged


def code(response: httpx.Response) -> str:
    return str(response.json().get("error_code", ""))


def test_in_the_wrong_environment_no_access_token_is_known_for_a_day(send: Send) -> None:
    tokens = [link(send, item)["access_token"] for item in range(5)]
    set_faults(send, wrong_environment=0.5)
    days = []
    for _ in range(20):
        codes = {code(send(path, {"access_token": token})) for token in tokens for path in (SYNC, "/accounts/get")}
        days.append(codes)
        send("/sandbox/day", {"advance": 1})
    assert all(codes in ({""}, {"INVALID_ACCESS_TOKEN"}) for codes in days)
    assert {""} in days
    assert {"INVALID_ACCESS_TOKEN"} in days
    set_faults(send)
    assert code(send(SYNC, {"access_token": tokens[0]})) == ""


def test_a_login_that_was_repaired_in_update_mode_works_with_the_same_token(send: Send) -> None:
    tokens = [link(send, item)["access_token"] for item in range(20)]
    set_faults(send, login_repaired=0.5)
    first = [code(send(SYNC, {"access_token": token})) for token in tokens]
    assert [code(send(SYNC, {"access_token": token})) for token in tokens] == first
    assert set(first) == {"", "ITEM_LOGIN_REQUIRED"}
    send("/sandbox/day", {"advance": 1})
    second = [code(send(SYNC, {"access_token": token})) for token in tokens]
    assert any(before and not after for before, after in zip(first, second, strict=True))


def test_linking_again_makes_a_new_item_of_the_same_accounts(send: Send) -> None:
    old = link(send, 7)
    set_faults(send, linked_again=1)
    new = link(send, 7)
    assert old["item_id"] != new["item_id"]
    accounts = [send("/accounts/get", {"access_token": each["access_token"]}).json()["accounts"] for each in (old, new)]
    kept, changed = (
        [[{name: each[name] for name in names} for each in listed] for listed in accounts]
        for names in (("mask", "type", "subtype", "name", "balances"), ("account_id",))
    )
    assert kept[0] == kept[1]
    assert changed[0] != changed[1]
    assert link(send, 7)["item_id"] not in (old["item_id"], new["item_id"])


def test_a_login_may_be_told_to_wait_for_90_seconds(send: Send, access_token: str) -> None:
    set_faults(send, long_wait=1)
    response = send(SYNC, {"access_token": access_token})
    assert (response.status_code, response.headers["retry-after"]) == (429, "90")


@pytest.mark.parametrize("fault", ["vanishing_account"])
def test_an_account_vanishes_and_comes_back_but_never_the_first(send: Send, fault: str) -> None:
    tokens = [link(send, item)["access_token"] for item in range(6)]

    def listed() -> list[list[str]]:
        answers = [send("/accounts/get", {"access_token": token}).json()["accounts"] for token in tokens]
        return [[each["account_id"] for each in accounts] for accounts in answers]

    everything = listed()
    set_faults(send, **{fault: 0.5})
    found = []
    for _ in range(8):
        found.append(listed())
        send("/sandbox/day", {"advance": 3})
    for number, accounts in enumerate(everything):
        lengths = {len(each[number]) for each in found}
        assert all(each[number][0] == accounts[0] for each in found)
        assert len(accounts) == 1 or len(lengths) > 1
