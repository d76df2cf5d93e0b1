"""Accounts that cannot be read: each is skipped with its reason, and the others load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from etl.sync.logins.store import provider_accounts
from etl.sync.logins.store.provider_accounts import ItemOfOtherUser
from etl.sync.provider import pages
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OUTCOME = "select outcome from etl.chunks"


def numbered_page(number: int) -> bytes:
    return page(added=[transaction(transaction_id=f"t{number}")], next_cursor=f"c{number}")


def test_a_login_that_its_user_must_mend_stops_and_the_others_load(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    stopped, _ = scripted_pipeline.enrol("stopped", "active")
    scripted_pipeline.enrol("stopped")
    scripted_bank.script("stopped", refusal("ITEM_ERROR", "ITEM_LOGIN_REQUIRED"))
    scripted_bank.script("active", numbered_page(1))
    (counts,) = scripted_pipeline.run("run")
    scripted_pipeline.report("run")
    assert counts.inserted == 1
    assert rows(OUTCOME) == [({"stopped": 1, "drained": 1},)]
    assert rows("select provider_account_id, outcome, reason, token_version from etl.left_out") == [
        (stopped, "stopped", "ITEM_LOGIN_REQUIRED", 2)
    ]
    assert rows("select state, state_reason from core.provider_accounts order by 1") == [
        ("active", None),
        ("needs_login", "ITEM_LOGIN_REQUIRED"),
    ]


def need_login(pipeline: Pipeline, account: int) -> None:
    pipeline.db.execute(
        "update core.provider_accounts set state = 'needs_login', state_reason = 'ITEM_LOGIN_REQUIRED', "
        "next_try_at = now(), failed_tries = 3 where provider_account_id = %s",
        [account],
    )


def test_a_login_that_is_tried_again_and_read_is_active_again(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    mended, _ = scripted_pipeline.enrol("mended", "active")
    scripted_bank.script("mended", numbered_page(1))
    scripted_bank.script("active", numbered_page(2))
    scripted_pipeline.plan("run")
    need_login(scripted_pipeline, mended)
    since = rows("select state_since from core.provider_accounts where provider_account_id = 2")
    scripted_pipeline.download("run")
    assert rows("select distinct state, state_reason, failed_tries from core.provider_accounts") == [
        ("active", None, 0)
    ]
    assert rows("select state_since from core.provider_accounts where provider_account_id = 2") == since


def test_a_login_that_is_tried_again_and_fails_again_is_still_stopped(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    stopped, _ = scripted_pipeline.enrol("stopped", "active")
    scripted_bank.script("stopped", refusal("ITEM_ERROR", "ITEM_LOGIN_REQUIRED"))
    scripted_bank.script("active", numbered_page(1))
    scripted_pipeline.plan("run")
    need_login(scripted_pipeline, stopped)
    scripted_pipeline.download("run")
    assert rows("select provider_account_id, outcome, token_version from etl.left_out") == [
        (stopped, "still_stopped", 1)
    ]
    assert rows("select state from core.provider_accounts where provider_account_id = 1") == [("needs_login",)]


def test_enrolling_a_stopped_account_again_reactivates_it(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank
) -> None:
    before = scripted_pipeline.enrol("one")
    scripted_bank.script("one", refusal("ITEM_ERROR", "ITEM_LOGIN_REQUIRED"), numbered_page(1))
    scripted_pipeline.run("run")
    scripted_pipeline.report("run")
    assert scripted_pipeline.enrol("one") == before
    (counts,) = scripted_pipeline.run("next")
    assert counts.inserted == 1


def test_an_account_whose_feed_always_mutates_is_skipped(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("mutating", "calm")
    scripted_bank.script("mutating", refusal("TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"))
    scripted_bank.script("calm", numbered_page(1))
    scripted_pipeline.run("run")
    assert len(scripted_bank.requests["mutating"]) == 6
    assert rows(OUTCOME) == [({"unreachable": 1, "drained": 1},)]


def test_an_empty_cursor_means_not_ready_and_saves_nothing(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("young")
    scripted_bank.script("young", page(next_cursor=""))
    (counts,) = scripted_pipeline.run("run")
    assert counts.read == 0
    assert rows(OUTCOME) == [({"not_ready": 1},)]
    assert rows("select count(*) from etl.cursors") == [(0,)]


def test_an_unreachable_account_is_skipped_and_the_others_load(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("down", "up")
    scripted_bank.script("down", Answer(b"", 503))
    scripted_bank.script("up", numbered_page(1))
    (counts,) = scripted_pipeline.run("run")
    assert counts.inserted == 1
    assert rows(OUTCOME) == [({"unreachable": 1, "drained": 1},)]


def test_an_item_of_another_user_cannot_be_enrolled(scripted_pipeline: Pipeline) -> None:
    scripted_pipeline.enrol("one")
    with pytest.raises(ItemOfOtherUser, match="item item-one is enrolled for another user than 'mallory'"):
        provider_accounts.enrol(
            scripted_pipeline.db,
            scripted_pipeline.cipher,
            provider="plaid",
            user="mallory",
            item_id="item-one",
            access_token="x",
        )


def test_an_account_with_an_unreadable_token_is_skipped_and_the_others_load(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    locked, _ = scripted_pipeline.enrol("locked", "open")
    scripted_bank.script("open", numbered_page(1))
    scripted_pipeline.db.execute(
        "update core.provider_accounts set access_token = 'x' where provider_account_id = %s", [locked]
    )
    (counts,) = scripted_pipeline.run("run")
    assert counts.inserted == 1
    assert rows(OUTCOME) == [({"unreadable": 1, "drained": 1},)]


@pytest.mark.parametrize(
    ("cursors", "requests"),
    [(["same"], 2), (["x", "y", "z"], 4), ([f"c{number}" for number in range(30)], 5)],
    ids=["stands still", "goes round", "ever new cursors"],
)
def test_an_account_whose_feed_does_not_end_is_skipped(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, cursors: list[str], requests: int
) -> None:
    scripted_pipeline.entity = replace(
        scripted_pipeline.entity, provider=replace(scripted_pipeline.entity.provider, retries=0)
    )
    scripted_pipeline.enrol("endless", "calm")
    scripted_bank.script("endless", *(page(next_cursor=cursor, has_more=True) for cursor in cursors * 10))
    scripted_bank.script("calm", numbered_page(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "MAX_PAGES", 5)
        scripted_pipeline.run("run")
    assert rows(OUTCOME) == [({"unreachable": 1, "drained": 1},)]
    assert len(scripted_bank.requests["endless"]) == requests
