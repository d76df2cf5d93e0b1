"""Faults of feeds and windows that depend on what a reader has read before."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from dev.bank.api import bad_records, transaction_endpoints
from dev.bank.hostile.readers import SHORT_HISTORY

Send = Callable[..., httpx.Response]
Record = dict[str, Any]
SYNC = "/transactions/sync"
TODAY = date(2026, 6, 29)


def set_faults(send: Send, **rates: float) -> None:
    send("/sandbox/faults", {"faults": rates}).raise_for_status()


def advance(send: Send, days: int) -> None:
    send("/sandbox/day", {"advance": days}).raise_for_status()


@pytest.fixture
def read(send: Send, access_token: str) -> Callable[..., Record]:
    """Return a function that reads the feed to its end, and returns what it brought and its last cursor."""

    def drain(cursor: str = "", count: int = 500) -> Record:
        drained: Record = {"added": [], "removed": [], "modified": []}
        while True:
            page = send(SYNC, {"access_token": access_token, "cursor": cursor, "count": count}).json()
            for name in drained:
                drained[name] += page[name]
            cursor = page["next_cursor"]
            if not page["has_more"]:
                return {**drained, "cursor": cursor}

    return drain


Read = Callable[..., Record]


def dates(page: Record) -> list[str]:
    return [each["date"] for each in page["added"]]


@pytest.fixture
def whole(read: Read) -> Record:
    """Return what the first read of the feed brought, by a reader that has come back since."""
    first = read()
    read(first["cursor"])
    return first


REREAD_FAULTS = ("short_history", "reread_lacks_rows", "reread_lacks_account", "reread_empty", "ancient_record")


def test_a_first_read_is_never_struck(send: Send, read: Read) -> None:
    expected = read()["added"]
    set_faults(send, **dict.fromkeys(REREAD_FAULTS, 1.0))
    assert read()["added"] == expected


def test_a_full_read_may_cover_the_last_days_only(send: Send, read: Read, whole: Record) -> None:
    set_faults(send, short_history=1)
    first_on = (TODAY - SHORT_HISTORY).isoformat()
    for count in (500, 11):
        again = read(count=count)
        assert again["added"] == [each for each in whole["added"] if each["date"] >= first_on]
        assert 0 < len(again["added"]) < len(whole["added"])


def test_a_short_history_leaves_out_nothing_that_its_reader_has_not_seen(send: Send, read: Read, whole: Record) -> None:
    advance(send, 40)
    set_faults(send, short_history=1)
    assert min(dates(read())) == min(dates(whole))


def test_a_full_read_may_lack_few_or_half_of_the_transactions(send: Send, read: Read, whole: Record) -> None:
    set_faults(send, reread_lacks_rows=1)
    shares = [len(read()["added"]) / len(whole["added"]) for _ in range(8)]
    assert any(0.85 < share < 1 for share in shares)
    assert any(0.4 < share < 0.6 for share in shares)


def test_a_full_read_may_lack_an_account(send: Send, read: Read, whole: Record) -> None:
    set_faults(send, reread_lacks_account=1)
    again = read()["added"]
    lacking = {each["account_id"] for each in whole["added"]} - {each["account_id"] for each in again}
    assert len(lacking) == 1
    assert again == [each for each in whole["added"] if each["account_id"] not in lacking]


def test_a_full_read_may_be_empty_and_ends_at_the_same_cursor(send: Send, read: Read, whole: Record) -> None:
    set_faults(send, reread_empty=1)
    for count in (500, 50):
        again = read(count=count)
        assert (again["added"], again["cursor"]) == ([], whole["cursor"])


def test_a_full_read_may_have_a_record_of_the_year_1_besides(send: Send, read: Read, whole: Record) -> None:
    set_faults(send, ancient_record=1)
    again = read(count=50)["added"]
    assert [each["date"] for each in again if each not in whole["added"]] == ["0001-01-01"]
    assert len(again) == len(whole["added"]) + 1


def test_a_forgotten_cursor_is_refused_and_a_read_from_the_beginning_is_not(
    send: Send, read: Read, whole: Record, access_token: str
) -> None:
    set_faults(send, lost_cursor=1)
    response = send(SYNC, {"access_token": access_token, "cursor": whole["cursor"]})
    assert (response.status_code, response.json()["error_code"]) == (400, "INVALID_FIELD")
    assert read(count=40)["added"] == whole["added"]


def test_cursors_take_earlier_values_again_and_lose_no_change(send: Send, read: Read, access_token: str) -> None:
    def page_since(cursor: str) -> list[str]:
        page = send(SYNC, {"access_token": access_token, "cursor": cursor, "count": 500}).json()
        return [each["transaction_id"] for name in ("added", "modified", "removed") for each in page[name]]

    plain = [read()["cursor"]]
    for _ in range(5):
        advance(send, 3)
        plain.append(read(plain[-1])["cursor"])
    expected = read(plain[0])
    set_faults(send, returning_cursor=1)
    values, brought = [read()["cursor"]], 0
    for _ in range(5):
        advance(send, 3)
        assert page_since(values[-1]) == page_since(values[-1])
        page = read(values[-1])
        brought += len(page["added"])
        values.append(page["cursor"])
    assert len(set(plain)) == 6
    assert values[0] == values[2] == values[4]
    assert values[1] == values[3] != values[0]
    assert brought > 20
    assert expected["added"]


def test_a_value_stays_until_its_reader_has_come_further(send: Send, access_token: str) -> None:
    def next_cursor(cursor: str) -> str:
        return str(send(SYNC, {"access_token": access_token, "cursor": cursor, "count": 500}).json()["next_cursor"])

    set_faults(send, returning_cursor=1)
    first = next_cursor("")
    advance(send, 2)
    second = next_cursor(first)
    advance(send, 2)
    third = next_cursor(first)
    assert len({first, second, third}) == 3
    assert next_cursor(second) == third


def test_a_page_of_a_feed_may_have_many_times_the_records_asked_for(send: Send, read: Read, access_token: str) -> None:
    expected = read()["added"]
    set_faults(send, oversized_page=1)
    page = send(SYNC, {"access_token": access_token, "count": 5}).json()
    assert len(page["added"]) == 5 * transaction_endpoints.OVERSIZE
    assert page["added"] == expected[: len(page["added"])]


@pytest.mark.parametrize("path", [SYNC, "/transactions/get"])
def test_a_page_may_have_a_million_empty_records_besides_its_own(
    send: Send, access_token: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bad_records.EMPTY_RECORDS == 1_000_000
    monkeypatch.setattr(bad_records, "EMPTY_RECORDS", 1_000)
    fields = {"access_token": access_token, "start_date": "2026-06-01", "end_date": "2026-06-29"}
    own = send(path, fields).json()
    set_faults(send, empty_records=1)
    flooded = send(path, fields).json()
    name = "added" if path == SYNC else "transactions"
    assert flooded[name] == own[name] + [{}] * 1_000
    assert {key: value for key, value in flooded.items() if key != name} == {
        key: value for key, value in own.items() if key != name
    }


def test_a_page_of_a_window_may_begin_a_record_too_late_with_the_same_total(send: Send, access_token: str) -> None:
    def page(offset: int) -> tuple[list[str], int]:
        fields = {"start_date": "2026-05-01", "end_date": "2026-06-29", "options": {"count": 20, "offset": offset}}
        answer = json.loads(send("/transactions/get", {"access_token": access_token, **fields}).text)
        return [each["transaction_id"] for each in answer["transactions"]], answer["total_transactions"]

    first, second, third = (page(offset) for offset in (0, 20, 40))
    set_faults(send, window_shift=1)
    assert page(0) == first
    assert page(20) == ([*second[0][1:], third[0][0]], second[1])


def test_a_short_history_is_as_long_as_promised() -> None:
    assert timedelta(days=20) == SHORT_HISTORY
