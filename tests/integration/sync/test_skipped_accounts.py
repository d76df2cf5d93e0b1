"""Accounts that cannot be read: left out with their reason, and no other with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etl.chunking import Chunk
from etl.sync.provider import pages
from etl.sync.store import provider_accounts
from etl.sync.store.provider_accounts import ItemOfOtherUser
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

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
    assert len(scripted.requests["stopped"]) == 1


def test_enrolling_again_lets_a_stopped_account_go_on(moody: Pipeline, scripted: ScriptedBank) -> None:
    before = moody.enrol("one")
    scripted.script("one", refusal("ITEM_ERROR", "ITEM_LOGIN_REQUIRED"), one(1))
    moody.run("run")
    assert moody.enrol("one") == before
    (counts,) = moody.run("next")
    assert counts.inserted == 1


def test_a_feed_that_mutates_for_ever_is_left_out_of_the_run(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("mutating", "calm")
    scripted.script("mutating", refusal("TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"))
    scripted.script("calm", one(1))
    moody.run("run")
    assert len(scripted.requests["mutating"]) == 6
    assert rows(OUTCOME) == [({"unreachable": 1, "drained": 1},)]


def test_an_empty_cursor_means_not_ready_and_saves_nothing(moody: Pipeline, scripted: ScriptedBank, rows: Rows) -> None:
    moody.enrol("young")
    scripted.script("young", page(next_cursor=""))
    (counts,) = moody.run("run")
    assert counts.read == 0
    assert rows(OUTCOME) == [({"not_ready": 1},)]
    assert rows("select count(*) from etl.cursors") == [(0,)]


def test_an_account_that_cannot_be_reached_is_left_out_and_the_others_load(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("down", "up")
    scripted.script("down", Answer(b"", 503))
    scripted.script("up", one(1))
    (counts,) = moody.run("run")
    assert counts.inserted == 1
    assert rows(OUTCOME) == [({"unreachable": 1, "drained": 1},)]


def test_a_login_that_was_renewed_meanwhile_is_not_stopped_for_its_old_token(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    ((stale,),) = provider_accounts.read_pages(moody.db, Chunk(0, 9), provider="plaid", feed="f")
    moody.enrol("one")
    provider_accounts.stop(moody.db, stale, reason="ITEM_LOGIN_REQUIRED")
    assert rows("select state from core.provider_accounts") == [("active",)]


def test_a_login_of_another_user_is_not_taken_over(moody: Pipeline) -> None:
    moody.enrol("one")
    with pytest.raises(ItemOfOtherUser, match="item item-one is enrolled for another user than 'mallory'"):
        provider_accounts.enrol(
            moody.db, moody.cipher, provider="plaid", user="mallory", item_id="item-one", access_token="x"
        )


def test_a_token_that_no_key_decrypts_leaves_its_account_out_and_no_other(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    locked, _ = moody.enrol("locked", "open")
    scripted.script("open", one(1))
    moody.db.execute("update core.provider_accounts set access_token = 'x' where provider_account_id = %s", [locked])
    (counts,) = moody.run("run")
    assert counts.inserted == 1
    assert rows(OUTCOME) == [({"unreadable": 1, "drained": 1},)]


@pytest.mark.parametrize("cursors", [["same"], ["x", "y", "z"]], ids=["stands still", "goes round"])
def test_a_feed_that_does_not_end_is_left_out(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch, cursors: list[str]
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGES", 5)
    moody.enrol("endless", "calm")
    scripted.script("endless", *(page(next_cursor=cursor, has_more=True) for cursor in cursors * 10))
    scripted.script("calm", one(1))
    moody.run("run")
    assert rows(OUTCOME) == [({"unreachable": 1, "drained": 1},)]
