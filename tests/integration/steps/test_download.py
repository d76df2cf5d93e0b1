"""Reading feeds from a bank on its bad days."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import zstandard
from cryptography.fernet import Fernet

from etl.errors import ChunkMissing, LandingMissing, ProviderRefused, ProviderUnavailable, TokenUnreadable
from etl.stores.tokens import TokenCipher
from etl.wire import pages
from tests.integration.steps.pipeline import Pipeline
from tests.integration.steps.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.etl.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OUTCOME = "select outcome from etl.chunks"


def one(number: int) -> bytes:
    return page(added=[transaction(transaction_id=f"t{number}")], next_cursor=f"c{number}")


def test_a_login_that_is_required_stops_its_account_and_no_other(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    stopped, active = moody.enrol("stopped", "active")
    scripted.script("stopped", refusal("ITEM_ERROR", "ITEM_LOGIN_REQUIRED"))
    scripted.script("active", one(1))
    (counts,) = moody.run("run")
    assert counts.inserted == 1
    assert rows("select provider_account_id, state, stopped_for from core.provider_accounts order by 1") == [
        (stopped, "stopped", "ITEM_LOGIN_REQUIRED"),
        (active, "active", None),
    ]
    assert rows(OUTCOME) == [({"stopped": 1, "drained": 1},)]
    moody.run("next")
    assert len(scripted.asked["stopped"]) == 1


def test_enrolling_again_lets_a_stopped_account_go_on(moody: Pipeline, scripted: ScriptedBank) -> None:
    before = moody.enrol("one")
    scripted.script("one", refusal("ITEM_ERROR", "ITEM_LOGIN_REQUIRED"), one(1))
    moody.run("run")
    assert moody.enrol("one") == before
    (counts,) = moody.run("next")
    assert counts.inserted == 1


def test_a_mutation_during_pagination_restarts_from_the_first_cursor_and_throws_the_pages_away(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    scripted.script(
        "one",
        page(added=[transaction(transaction_id="gone")], next_cursor="x", has_more=True),
        page(added=[transaction(transaction_id="gone too")], next_cursor="y", has_more=True),
        refusal("TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"),
        page(added=[transaction(transaction_id="kept")], next_cursor="z"),
    )
    moody.run("run")
    assert [request.get("cursor") for request in scripted.asked["one"]] == [None, "x", "y", None]
    assert rows("select transaction_id from core.transactions") == [("kept",)]
    assert rows("select value from etl.cursors") == [("z",)]


def test_a_feed_that_mutates_for_ever_is_left_out_of_the_run(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("mutating", "calm")
    scripted.script("mutating", refusal("TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"))
    scripted.script("calm", one(1))
    moody.run("run")
    assert len(scripted.asked["mutating"]) == 6
    assert rows(OUTCOME) == [({"unreachable": 1, "drained": 1},)]


def test_an_empty_cursor_means_not_ready_and_saves_nothing(moody: Pipeline, scripted: ScriptedBank, rows: Rows) -> None:
    moody.enrol("young")
    scripted.script("young", page(next_cursor=""))
    (counts,) = moody.run("run")
    assert counts.read == 0
    assert rows(OUTCOME) == [({"not_ready": 1},)]
    assert rows("select count(*) from etl.cursors") == [(0,)]


@pytest.mark.parametrize(
    "bad",
    [
        Answer(b"oops", 502),
        refusal("API_ERROR", "INTERNAL_SERVER_ERROR", 500),
        refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429),
        Answer(b"<html>not json"),
        Answer(b'{"added": []}'),
    ],
    ids=["gateway", "server", "rate limit", "not json", "not a page"],
)
def test_what_may_pass_is_asked_again(moody: Pipeline, scripted: ScriptedBank, bad: Answer, rows: Rows) -> None:
    moody.enrol("one")
    scripted.script("one", bad, one(1))
    (counts,) = moody.run("run")
    assert counts.inserted == 1
    assert len(scripted.asked["one"]) == 2


def test_the_wait_that_a_bank_asks_for_is_kept(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("one")
    scripted.script("one", refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After="2"), one(1))
    began = time.monotonic()
    moody.run("run")
    assert time.monotonic() - began >= 2


def test_an_account_that_cannot_be_reached_is_left_out_and_the_others_load(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("down", "up")
    scripted.script("down", Answer(b"", 503))
    scripted.script("up", one(1))
    (counts,) = moody.run("run")
    assert counts.inserted == 1
    assert rows(OUTCOME) == [({"unreachable": 1, "drained": 1},)]


def test_a_chunk_of_which_nothing_can_be_reached_is_tried_again_later(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("down")
    scripted.script("down", Answer(b"", 503))
    moody.plan("run")
    with pytest.raises(ProviderUnavailable, match=r"none of the accounts of chunk 1 could be drained.*HTTP 503"):
        moody.download("run")
    with pytest.raises(LandingMissing, match=r"chunk 1, attempt 1.*clear the task `download`"):
        moody.store_raw("run")
    scripted.script("down", one(1))
    assert moody.load(moody.fetch("run")).inserted == 1


def test_wrong_client_credentials_stop_the_chunk_and_no_account(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    scripted.script("one", refusal("INVALID_INPUT", "INVALID_API_KEYS"))
    moody.plan("run")
    with pytest.raises(ProviderRefused, match="plaid /transactions/sync answered INVALID_API_KEYS, HTTP 400"):
        moody.download("run")
    assert rows("select state from core.provider_accounts") == [("active",)]


def test_no_secret_is_kept_with_the_pages(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("access-token-of-one")
    scripted.script("access-token-of-one", one(1))
    moody.run("run")
    (sealed,) = (moody.root / "raw").rglob("*.zst")
    content = zstandard.ZstdDecompressor().stream_reader(sealed.read_bytes()).read()
    assert b'"count"' in content
    for secret in (b"access-token-of-one", b"access_token", b"secret"):
        assert secret not in content


def test_a_token_that_no_key_decrypts_leaves_its_account_out_and_no_other(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    locked, _ = moody.enrol("locked", "open")
    scripted.script("open", one(1))
    moody.warehouse.execute(
        "update core.provider_accounts set access_token = 'x' where provider_account_id = %s", [locked]
    )
    (counts,) = moody.run("run")
    assert counts.inserted == 1
    assert rows(OUTCOME) == [({"unreadable": 1, "drained": 1},)]


def test_a_chunk_without_a_readable_token_fails_and_names_an_account(moody: Pipeline) -> None:
    (account,) = moody.enrol("one")
    moody.plan("run")
    moody.cipher = TokenCipher([Fernet.generate_key().decode()])
    with pytest.raises(TokenUnreadable, match=f"provider account {account}"):
        moody.download("run")


@pytest.mark.parametrize("cursors", [["same"], ["x", "y", "z"]], ids=["stands still", "goes round"])
def test_a_feed_that_does_not_end_is_left_out(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch, cursors: list[str]
) -> None:
    monkeypatch.setattr(pages, "MOST_PAGES", 5)
    moody.enrol("endless", "calm")
    scripted.script("endless", *(page(next_cursor=cursor, has_more=True) for cursor in cursors * 10))
    scripted.script("calm", one(1))
    moody.run("run")
    assert rows(OUTCOME) == [({"unreachable": 1, "drained": 1},)]


def test_a_bank_that_asks_for_too_long_a_wait_is_left_alone(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("one")
    scripted.script("one", refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After="86400"))
    moody.plan("run")
    with pytest.raises(ProviderUnavailable, match="TRANSACTIONS_LIMIT"):
        moody.download("run")
    assert len(scripted.asked["one"]) == 1


def test_a_chunk_that_was_not_planned_is_refused_by_name(moody: Pipeline) -> None:
    with pytest.raises(ChunkMissing, match="run 'run' has no chunk 3"):
        moody.download("run", 3)
