"""Bad answers about one account: its rows stay, the other accounts load, and the next good run catches up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.providers.plaid import PLAID
from etl.clients import http
from etl.sync.drain import account as drain_account
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
SKIPPED = "select provider_account_id, outcome, reason from etl.left_out"
CURSORS = "select provider_account_id, value from etl.cursors order by 1"
TABLE = """
select account_id, transaction_id, amount, currency, dated_on, pending, description, removed_at is null, removed_for
from core.transactions
where provider_account_id = %s
order by 1, 2
"""
REMOVED_KEY = {name: transaction(transaction_id="t1")[name] for name in ("account_id", "transaction_id")}
FIRST = page(added=[transaction(transaction_id="t1"), transaction(transaction_id="t2")], next_cursor="c1")
MIDDLE = page(added=[transaction(transaction_id="t3")], next_cursor="c2", has_more=True)
LAST = page(modified=[transaction(transaction_id="t2", amount=7)], removed=[REMOVED_KEY], next_cursor="c3")
QUIET = page(next_cursor="c3")

NO_PAGE = ("unreachable", "a page that is not JSON of the declared shape")
NO_CODE = ("refused", "/transactions/sync answered HTTP 400, HTTP 400")
NO_LISTS: tuple[object, ...] = (None, {}, "t4")
MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"


def without(name: str) -> bytes:
    fields = msgspec.json.decode(LAST)
    del fields[name]
    return msgspec.json.encode(fields)


def with_fields(**changes: object) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(LAST), **changes})


def bad_cursor(length: int) -> tuple[str, str]:
    return ("unreachable", f"a cursor of {length} characters that is too long or holds an invalid character")


@pytest.fixture
def scripted_pipeline(scripted_pipeline: Pipeline) -> Pipeline:
    """Return the steps of a sync, run against the scripted bank without retries."""
    scripted_pipeline.entity = replace(scripted_pipeline.entity, provider=replace(PLAID, retries=0))
    return scripted_pipeline


BAD: dict[str, tuple[bytes | Answer, tuple[str, str]]] = {
    "html": (b"<html>We will be right back</html>", NO_PAGE),
    "nothing": (b"", NO_PAGE),
    "a list": (b"[]", NO_PAGE),
    "null": (b"null", NO_PAGE),
    "nesting": (b"{" * 100_000, NO_PAGE),
    "cut short": (LAST[:-20], NO_PAGE),
    "twice": (LAST + LAST, NO_PAGE),
    **{f"no {name}": (without(name), NO_PAGE) for name in ("added", "modified", "removed", "next_cursor", "has_more")},
    **{f"added is {wrong}": (with_fields(added=wrong), NO_PAGE) for wrong in NO_LISTS},
    **{f"has_more is {wrong!r}": (with_fields(has_more=wrong), NO_PAGE) for wrong in (None, "false", 0)},
    **{f"next_cursor is {wrong}": (with_fields(next_cursor=wrong), NO_PAGE) for wrong in (None, 3)},
    "long cursor": (with_fields(next_cursor="x" * 257), bad_cursor(257)),
    "nul in the cursor": (with_fields(next_cursor="nul\0"), bad_cursor(4)),
    "half a pair in the cursor": (LAST.replace(b'"c3"', b'"\\ud83d"'), bad_cursor(1)),
    "empty cursor": (with_fields(next_cursor=""), ("not_ready", "an empty cursor")),
    "endless": (
        with_fields(next_cursor="c2", has_more=True),
        ("unreachable", "a feed that does not end, after 2 pages"),
    ),
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
    "code that is a number": (
        Answer(b'{"error_code": 5}', 400),
        ("refused", "/transactions/sync answered 5, HTTP 400"),
    ),
    "nesting in an error": (Answer(b'{"causes": ' + b"[" * 100_000, 400), NO_CODE),
    "error that is a list": (Answer(b"[]", 400), NO_CODE),
}


def test_an_account_with_a_bad_answer_is_unchanged_until_a_good_run(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    accounts = dict(zip([*BAD, "calm"], scripted_pipeline.enrol(*BAD, "calm"), strict=True))
    calm = accounts["calm"]
    for name, (bad, _) in BAD.items():
        scripted_bank.script(name, FIRST, *[MIDDLE, bad] * (1 + drain_account.MAX_RESTARTS))
    scripted_bank.script("calm", FIRST, MIDDLE, LAST, QUIET)
    scripted_pipeline.run("first")
    before = {name: rows(TABLE, accounts[name]) for name in BAD}
    (counts,) = scripted_pipeline.run("bad")
    assert (counts.read, counts.inserted, counts.updated, counts.removed) == (3, 1, 1, 1)
    assert rows(SKIPPED) == [(accounts[name], *reason) for name, (_, reason) in BAD.items()]
    assert {name: rows(TABLE, accounts[name]) for name in BAD} == before
    assert rows(CURSORS) == [*((accounts[name], "c1") for name in BAD), (calm, "c3")]
    for name in BAD:
        scripted_bank.script(name, MIDDLE, LAST)
    scripted_pipeline.enrol(*BAD)
    scripted_pipeline.run("good")
    assert {value for _, value in rows(CURSORS)} == {"c3"}
    assert {name: rows(TABLE, account) for name, account in accounts.items()} == dict.fromkeys(
        accounts, rows(TABLE, calm)
    )


def test_an_oversized_body_is_not_read_to_its_end(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_BODY_SIZE", 100_000)
    monkeypatch.setattr(drain_account, "MAX_SIZE_TOGETHER", 50_000)
    flood, _ = scripted_pipeline.enrol("flood", "calm")
    scripted_bank.script("flood", FIRST + b" " * 100_000)
    scripted_bank.script("calm", FIRST)
    (counts,) = scripted_pipeline.run("run")
    assert counts.inserted == 2
    assert rows(SKIPPED) == [(flood, "oversized", "an answer of more than 100000 bytes")]
    assert len(scripted_bank.requests["flood"]) == len(["together", "alone"])


def test_an_account_that_exceeds_the_time_limit_of_its_chunk_is_skipped_and_the_others_load(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.entity = replace(scripted_pipeline.entity, timeout=timedelta(seconds=2))
    slow, _ = scripted_pipeline.enrol("slow", "calm")
    scripted_bank.script("slow", refusal("RATE_LIMIT_EXCEEDED", "LIMIT", 429, Retry_After="30"))
    scripted_bank.script("calm", FIRST)
    scripted_pipeline.entity = replace(scripted_pipeline.entity, provider=PLAID)
    (counts,) = scripted_pipeline.run("run")
    assert counts.inserted == 2
    assert rows(SKIPPED) == [(slow, "unreachable", "not drained within the chunk's time limit of 0:00:01.500000")]


def test_a_snapshot_without_its_list_is_invalid(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.entity = replace(ACCOUNTS, provider=scripted_pipeline.entity.provider)
    listless, _ = scripted_pipeline.enrol("listless", "empty")
    scripted_bank.script("listless", b'{"item": {}}')
    scripted_bank.script("empty", b'{"accounts": [], "item": {}}')
    (counts,) = scripted_pipeline.run("run")
    assert counts.read == 0
    assert rows("select outcome from etl.chunks") == [({"unreachable": 1, "drained": 1},)]
    assert rows(SKIPPED) == [(listless, *NO_PAGE)]
