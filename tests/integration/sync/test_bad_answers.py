"""Whatever a bank answers about one account: what it had stays, the others go on, and a good run makes up for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.providers.plaid import PLAID
from etl.clients import http
from etl.sync import download
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
LEFT_OUT = "select provider_account_id, outcome, reason from etl.left_out"
CURSORS = "select provider_account_id, value from etl.cursors order by 1"
TABLE = """
select account_id, transaction_id, amount, currency, dated_on, pending, description, removed_at is null, removed_for
from core.transactions
where provider_account_id = %s
order by 1, 2
"""
GONE = {name: transaction(transaction_id="t1")[name] for name in ("account_id", "transaction_id")}
FIRST = page(added=[transaction(transaction_id="t1"), transaction(transaction_id="t2")], next_cursor="c1")
MIDDLE = page(added=[transaction(transaction_id="t3")], next_cursor="c2", has_more=True)
LAST = page(modified=[transaction(transaction_id="t2", amount=7)], removed=[GONE], next_cursor="c3")
QUIET = page(next_cursor="c3")

NO_PAGE = ("unreachable", "a page that is not the source's JSON")
NO_CODE = ("refused", "/transactions/sync answered HTTP 400, HTTP 400")
NO_LISTS: tuple[object, ...] = (None, {}, "t4")
MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


def without(name: str) -> bytes:
    fields = msgspec.json.decode(LAST)
    del fields[name]
    return msgspec.json.encode(fields)


def holding(**changes: object) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(LAST), **changes})


def cursor_of(length: int) -> tuple[str, str]:
    return ("unreachable", f"a cursor of {length} characters, or with one that cannot be kept")


@pytest.fixture
def moody(moody: Pipeline) -> Pipeline:
    """Return the steps against the scripted bank, given up on at once."""
    moody.entity = replace(moody.entity, provider=replace(PLAID, retries=0))
    return moody


BAD: dict[str, tuple[bytes | Answer, tuple[str, str]]] = {
    "a page for people": (b"<html>We will be right back</html>", NO_PAGE),
    "nothing": (b"", NO_PAGE),
    "a list": (b"[]", NO_PAGE),
    "null": (b"null", NO_PAGE),
    "nesting": (b"{" * 100_000, NO_PAGE),
    "cut short": (LAST[:-20], NO_PAGE),
    "twice": (LAST + LAST, NO_PAGE),
    **{f"no {name}": (without(name), NO_PAGE) for name in ("added", "modified", "removed", "next_cursor", "has_more")},
    **{f"added is {wrong}": (holding(added=wrong), NO_PAGE) for wrong in NO_LISTS},
    **{f"has_more is {wrong!r}": (holding(has_more=wrong), NO_PAGE) for wrong in (None, "false", 0)},
    **{f"next_cursor is {wrong}": (holding(next_cursor=wrong), NO_PAGE) for wrong in (None, 3)},
    "long cursor": (holding(next_cursor="x" * 257), cursor_of(257)),
    "nul in the cursor": (holding(next_cursor="nul\0"), cursor_of(4)),
    "half a pair in the cursor": (LAST.replace(b'"c3"', b'"\\ud83d"'), cursor_of(1)),
    "empty cursor": (holding(next_cursor=""), ("not_ready", "an empty cursor")),
    "endless": (holding(next_cursor="c2", has_more=True), ("unreachable", "a feed that does not end, after 2 pages")),
    "bad gateway": (Answer(b"oops", 502), ("unreachable", "HTTP 502")),
    "server error": (refusal("API_ERROR", "INTERNAL_SERVER_ERROR", 500), ("unreachable", "INTERNAL_SERVER_ERROR")),
    "rate limit": (refusal("RATE_LIMIT_EXCEEDED", "LIMIT", 429), ("unreachable", "LIMIT")),
    "long wait": (refusal("RATE_LIMIT_EXCEEDED", "LIMIT", 429, Retry_After="9" * 30), ("unreachable", "LIMIT")),
    "institution": (refusal("INSTITUTION_ERROR", "INSTITUTION_DOWN"), ("unreachable", "INSTITUTION_DOWN")),
    "mutation": (refusal("TRANSACTIONS_ERROR", MUTATION), ("unreachable", MUTATION)),
    "login": (refusal("ITEM_ERROR", "ITEM_LOGIN_REQUIRED"), ("stopped", "ITEM_LOGIN_REQUIRED")),
    "revoked": (refusal("INVALID_INPUT", "INVALID_ACCESS_TOKEN"), ("stopped", "INVALID_ACCESS_TOKEN")),
    "refused": (refusal("INVALID_REQUEST", "NO"), ("refused", "/transactions/sync answered NO, HTTP 400")),
    "nul in the code": (refusal("INVALID_REQUEST", "NUL\0"), NO_CODE),
    "lines in the code": (refusal("INVALID_REQUEST", "line\nbreak"), NO_CODE),
    "long code": (refusal("INVALID_REQUEST", "X" * 10_000), NO_CODE),
    "code in another encoding": (Answer(b'{"error_code": "caf\xe9"}', 400), NO_CODE),
    "code that is a number": (Answer(b'{"error_code": 5}', 400), NO_CODE),
    "nesting in an error": (Answer(b'{"causes": ' + b"[" * 100_000, 400), NO_CODE),
    "error that is a list": (Answer(b"[]", 400), NO_CODE),
}


def test_an_account_that_is_answered_badly_stays_as_it_was_until_a_good_run(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    accounts = dict(zip([*BAD, "calm"], moody.enrol(*BAD, "calm"), strict=True))
    calm = accounts["calm"]
    for name, (bad, _) in BAD.items():
        scripted.script(name, FIRST, *[MIDDLE, bad] * (1 + download.MAX_RESTARTS))
    scripted.script("calm", FIRST, MIDDLE, LAST, QUIET)
    moody.run("first")
    before = {name: rows(TABLE, accounts[name]) for name in BAD}
    (counts,) = moody.run("disturbed")
    assert (counts.read, counts.inserted, counts.updated, counts.removed) == (3, 1, 1, 1)
    assert rows(LEFT_OUT) == [(accounts[name], *found) for name, (_, found) in BAD.items()]
    assert {name: rows(TABLE, accounts[name]) for name in BAD} == before
    assert rows(CURSORS) == [*((accounts[name], "c1") for name in BAD), (calm, "c3")]
    for name in BAD:
        scripted.script(name, MIDDLE, LAST)
    moody.enrol(*BAD)
    moody.run("good")
    assert {value for _, value in rows(CURSORS)} == {"c3"}
    assert {name: rows(TABLE, account) for name, account in accounts.items()} == dict.fromkeys(
        accounts, rows(TABLE, calm)
    )


def test_a_body_without_end_is_not_read_to_it(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_BODY_SIZE", 100_000)
    flood, _ = moody.enrol("flood", "calm")
    scripted.script("flood", FIRST + b" " * 100_000)
    scripted.script("calm", FIRST)
    (counts,) = moody.run("run")
    assert counts.inserted == 2
    assert rows(LEFT_OUT) == [(flood, "unreachable", "an answer of more than 100000 bytes")]


def test_an_account_that_takes_all_the_time_of_its_chunk_is_left_out_and_the_others_load(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.entity = replace(moody.entity, timeout=timedelta(seconds=2))
    slow, _ = moody.enrol("slow", "calm")
    endless = (page(next_cursor=f"c{number}", has_more=True) for number in range(60))
    scripted.script("slow", *endless)
    scripted.script("calm", FIRST)
    (counts,) = moody.run("run")
    assert counts.inserted == 2
    assert rows(LEFT_OUT) == [(slow, "unreachable", "no end of the account within 0:00:01.500000 of its chunk")]


def test_a_snapshot_without_its_list_is_none(moody: Pipeline, scripted: ScriptedBank, rows: Rows) -> None:
    moody.entity = replace(ACCOUNTS, provider=moody.entity.provider)
    listless, _ = moody.enrol("listless", "empty")
    scripted.script("listless", b'{"item": {}}')
    scripted.script("empty", b'{"accounts": [], "item": {}}')
    (counts,) = moody.run("run")
    assert counts.read == 0
    assert rows("select outcome from etl.chunks") == [({"unreachable": 1, "drained": 1},)]
    assert rows(LEFT_OUT) == [(listless, *NO_PAGE)]
