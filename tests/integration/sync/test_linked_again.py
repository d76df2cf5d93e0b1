"""Logins that are linked again: the newest link wins, whenever the two are found to be the same."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.entities.accounts import ACCOUNTS
from etl.db.connection import Connection
from etl.sync.logins import link as linking
from etl.sync.logins.link import enrol_login
from etl.sync.logins.relink import restore_login
from etl.sync.logins.store import provider_accounts, replaced_accounts
from etl.sync.logins.store.login_state import LoginState
from tests.integration.sync.pipeline import PLAID_ONE_RETRY, Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.integration.sync.test_entities import account, snapshot
from tests.integration.sync.test_relink import CHECKING, LIVE, SAVINGS, TODAY, days, link, load
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OPEN = "select provider_account_id from core.accounts where closed_on is null order by 1"
PAIRS = "select old_provider_account_id, new_provider_account_id from core.replaced_accounts where undone_at is null"
REPLACED = "select provider_account_id, state, replaced_by from core.provider_accounts order by 1"
INSTITUTION = b'{"item": {"institution_id": "ins_1", "institution_name": "Bank"}}'


def test_a_replaced_login_that_is_linked_again_itself_replaces_the_other_and_the_other_way_round(
    pipeline: Pipeline, rows: Rows
) -> None:
    a = link(pipeline, "a", CHECKING)
    load(pipeline, a, "a", *days(1, 2, 3))
    b = link(pipeline, "b", CHECKING)
    load(pipeline, b, "b", *days(2, 3, 4, until=TODAY + timedelta(days=1)))
    known = rows(LIVE)
    assert known == [(a, "a 0"), (b, "b 0"), (b, "b 1"), (b, "b 2")]
    for newest, item, other in ((a, "a", b), (b, "b", a), (a, "a", b)):
        assert link(pipeline, item, CHECKING) == newest
        assert {login: (state, by) for login, state, by in rows(REPLACED)} == {
            newest: ("active", None),
            other: ("replaced", newest),
        }
        assert rows(PAIRS) == [(other, newest)]
        assert rows(OPEN) == [(newest,)]
        assert rows(LIVE) == known, "until it was read again, no money is lost, and none counts twice"
        load(pipeline, newest, item, *days(1, 2, 3, 4, until=TODAY + timedelta(days=1)), whole=True)
        known = rows(LIVE)
        assert known == [(newest, f"{item} {number}") for number in range(4)]


def test_a_login_that_is_linked_again_is_read_from_the_beginning_once(pipeline: Pipeline, rows: Rows) -> None:
    a = link(pipeline, "a", CHECKING)
    load(pipeline, a, "a", *days(1))
    link(pipeline, "a", CHECKING)
    assert rows("select reread from etl.cursors") == [(False,)], "nothing of it had ended"
    link(pipeline, "b", CHECKING)
    link(pipeline, "a", CHECKING)
    assert rows("select reread from etl.cursors") == [(True,)]


@pytest.mark.parametrize("newest", ["first", "second", "third"])
def test_of_three_logins_in_a_chain_the_one_that_is_linked_again_counts(
    pipeline: Pipeline, rows: Rows, newest: str
) -> None:
    logins = {}
    for item in ("first", "second", "third"):
        logins[item] = link(pipeline, item, CHECKING)
        load(pipeline, logins[item], item, *days(1, 2, 3))
    link(pipeline, newest, CHECKING)
    assert rows(OPEN) == [(logins[newest],)]
    load(pipeline, logins[newest], newest, *days(1, 2, 3), whole=True)
    assert rows(LIVE) == [(logins[newest], f"{newest} {number}") for number in range(3)]
    states = {login: state for login, state, _ in rows(REPLACED)}
    assert [item for item, login in logins.items() if states[login] == "active"] == [newest]
    assert len(rows(PAIRS)) == 3
    for (raw_id,) in rows("select raw_id from etl.loads order by 1"):
        pipeline.replay(int(str(raw_id)))
    assert {login for login, _ in rows(LIVE)} == {logins[newest]}


def test_a_late_batch_of_the_other_login_ends_no_row_before_the_newest_was_read(pipeline: Pipeline, rows: Rows) -> None:
    a = link(pipeline, "a", CHECKING)
    load(pipeline, a, "a", *days(1, until=TODAY - timedelta(days=9)))
    b = link(pipeline, "b", CHECKING)
    load(pipeline, b, "b", *days(2, 3))
    link(pipeline, "a", CHECKING)
    pipeline.load(
        pipeline.seal_pages(
            (b, page(added=[transaction(transaction_id="late", account_id="b checking", date=str(TODAY))])),
            run_id="late",
            moves="x>y",
        )
    )
    assert rows(LIVE) == [(a, "a 0"), (b, "b 0"), (b, "b 1"), (b, "late")]


def test_what_a_person_has_undone_is_found_in_neither_direction(pipeline: Pipeline, rows: Rows) -> None:
    a = link(pipeline, "a", CHECKING)
    b = link(pipeline, "b", CHECKING)
    assert restore_login(a, entities=ENTITIES, db=pipeline.db) is LoginState.ACTIVE
    for item in ("a", "b", "a"):
        link(pipeline, item, CHECKING)
        assert rows(REPLACED) == [(a, "active", None), (b, "active", None)]


def test_a_restored_login_is_read_from_the_beginning(pipeline: Pipeline, rows: Rows) -> None:
    a = link(pipeline, "a", CHECKING)
    load(pipeline, a, "a", *days(1))
    link(pipeline, "b", CHECKING)
    restore_login(a, entities=ENTITIES, db=pipeline.db)
    assert rows("select reread from etl.cursors") == [(True,)]


@pytest.mark.parametrize("first", ["unlinked", "replaced"])
def test_an_unlinked_login_that_is_replaced_stays_unlinked_and_is_restored_as_a_whole(
    pipeline: Pipeline, rows: Rows, first: str
) -> None:
    a = link(pipeline, "a", CHECKING)
    load(pipeline, a, "a", *days(1, 2))
    if first == "unlinked":
        provider_accounts.unlink(pipeline.db, a, token_version=1, reason="asked")
    b = link(pipeline, "b", CHECKING)
    load(pipeline, b, "b", *days(1, 2))
    if first == "replaced":
        provider_accounts.unlink(pipeline.db, a, token_version=1, reason="asked")
    assert rows(REPLACED) == [(a, "unlinked", b), (b, "active", None)]
    assert restore_login(a, entities=ENTITIES, db=pipeline.db) is LoginState.UNLINKED
    assert rows(REPLACED) == [(a, "unlinked", None), (b, "active", None)]
    assert rows("select state_reason from core.provider_accounts where state = 'unlinked'") == [("asked",)]
    assert rows(OPEN) == [(a,), (b,)]
    assert rows(LIVE) == [(a, "a 0"), (a, "a 1"), (b, "b 0"), (b, "b 1")]
    assert restore_login(a, entities=ENTITIES, db=pipeline.db) is None


def test_restoring_a_login_that_was_not_replaced_changes_nothing(pipeline: Pipeline, rows: Rows) -> None:
    a = link(pipeline, "a", CHECKING)
    load(pipeline, a, "a", *days(1))
    before = rows("select * from core.provider_accounts"), rows("select * from core.accounts")
    assert restore_login(a, entities=ENTITIES, db=pipeline.db) is None
    assert (rows("select * from core.provider_accounts"), rows("select * from core.accounts")) == before
    assert rows("select reread from etl.cursors") == [(False,)]


def test_a_login_that_is_linked_again_while_it_is_compared_is_the_newest(
    pipeline: Pipeline, connect: Callable[[], Connection], rows: Rows
) -> None:
    a = link(pipeline, "a", CHECKING)
    b = link(pipeline, "b", SAVINGS)
    other = connect()
    accounts = [replace(CHECKING, provider_account_id=b, account_id="b checking")]
    with ThreadPoolExecutor(1) as threads:
        with pipeline.db.transaction():
            link(pipeline, "a", CHECKING)
            comparison = threads.submit(replaced_accounts.compare, other, accounts)
            while not rows("select 1 from pg_locks where not granted"):
                assert not comparison.done()
        comparison.result(timeout=10)
    assert rows(PAIRS) == [(b, a)]


@pytest.fixture
def accounts(scripted_pipeline: Pipeline) -> Pipeline:
    """Return a pipeline of accounts."""
    return replace(scripted_pipeline, entity=replace(ACCOUNTS, provider=PLAID_ONE_RETRY), source="accounts_get")


def link_at(pipeline: Pipeline, bank: ScriptedBank, token: str, *answers: Answer | bytes) -> int:
    """Link a login of Ann's, where the bank answers these when it is asked for the institution and the accounts."""
    bank.script(f"public-{token}", f'{{"item_id": "item-{token}", "access_token": "{token}"}}'.encode())
    bank.script(token, *answers)
    return enrol_login(
        PLAID_ONE_RETRY,
        f"public-{token}",
        user="ann",
        db=pipeline.db,
        cipher=pipeline.cipher,
        endpoint=pipeline.endpoint,
        limiter=pipeline.limiter,
        accounts=ACCOUNTS,
    )


def checking(token: str, **fields: object) -> bytes:
    """Return a snapshot of the same bank account, by the id that it has in a login."""
    return snapshot({**account(account_id=f"{token} checking"), "mask": "0001", **fields})


@pytest.mark.parametrize(
    "answer",
    [refusal("ITEM_ERROR", "PRODUCTS_NOT_SUPPORTED"), refusal("INVALID_REQUEST", "NO"), b"no JSON", Answer(b"", 503)],
    ids=["not ready", "refused", "no JSON", "down"],
)
def test_a_login_whose_accounts_are_not_listed_when_it_is_linked_is_compared_when_they_are_loaded(
    accounts: Pipeline,
    scripted_bank: ScriptedBank,
    rows: Rows,
    answer: Answer | bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = link_at(accounts, scripted_bank, "old", INSTITUTION, checking("old"))
    accounts.run("monday")
    caplog.clear()
    new = link_at(accounts, scripted_bank, "new", INSTITUTION, answer)
    assert "their money may count twice until its accounts and then its transactions are loaded" in caplog.text
    assert rows("select institution_id from core.provider_accounts") == [("ins_1",)] * 2
    assert rows(REPLACED) == [(old, "active", None), (new, "active", None)]
    scripted_bank.script("new", checking("new"))
    accounts.run("tuesday")
    assert rows(REPLACED) == [(old, "replaced", new), (new, "active", None)]
    assert rows(OPEN) == [(new,)]
    restore_login(old, entities=ENTITIES, db=accounts.db)
    accounts.run("wednesday")
    assert rows(PAIRS) == []


def test_a_login_that_is_linked_in_time_is_found_at_once_and_nothing_is_warned_of(
    accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    old = link_at(accounts, scripted_bank, "old", INSTITUTION, checking("old"))
    accounts.run("monday")
    new = link_at(accounts, scripted_bank, "new", INSTITUTION, checking("new"))
    assert rows(REPLACED) == [(old, "replaced", new), (new, "active", None)]
    assert "count twice" not in caplog.text


@pytest.mark.parametrize("loaded_first", [0, 1])
def test_logins_that_were_both_linked_before_their_accounts_were_loaded_are_compared_by_their_links(
    accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows, loaded_first: int
) -> None:
    old = link_at(accounts, scripted_bank, "old", INSTITUTION, checking("old"))
    new = link_at(accounts, scripted_bank, "new", INSTITUTION, checking("new"))
    assert rows(PAIRS) == [], "neither has a loaded account yet"
    accounts.entity = replace(accounts.entity, chunk_size=1)
    ordinals = accounts.plan("monday")
    for ordinal in sorted(ordinals, key=lambda ordinal: ordinal != loaded_first):
        accounts.load(accounts.fetch("monday", ordinal))
    assert rows(REPLACED) == [(old, "replaced", new), (new, "active", None)]
    assert rows(PAIRS) == [(old, new)]
    assert rows(OPEN) == [(new,)]


def test_logins_whose_accounts_are_loaded_at_once_are_compared(
    accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    old = link_at(accounts, scripted_bank, "old", INSTITUTION, checking("old"))
    new = link_at(accounts, scripted_bank, "new", INSTITUTION, checking("new"))
    accounts.run("monday")
    assert rows(REPLACED) == [(old, "replaced", new), (new, "active", None)]
    assert rows("select compared_at is null from core.provider_accounts") == [(False,)] * 2


@pytest.mark.parametrize(("persistent_id", "pairs"), [("p", 1), (None, 0)])
def test_without_a_known_institution_only_a_persistent_id_tells(
    accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows, persistent_id: str | None, pairs: int
) -> None:
    fields = {"persistent_account_id": persistent_id}
    old = link_at(accounts, scripted_bank, "old", INSTITUTION, checking("old", **fields))
    new = link_at(accounts, scripted_bank, "new", b"{}", checking("new", **fields))
    accounts.run("monday")
    assert rows(PAIRS) == [(old, new)] * pairs
    provider_accounts.set_institution(accounts.db, new, institution_id="ins_1", institution_name=None)
    accounts.run("tuesday")
    assert rows(PAIRS) == [(old, new)], "the institution became known"


def test_a_login_is_compared_once(accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows) -> None:
    link_at(accounts, scripted_bank, "old", INSTITUTION, checking("old"))
    link_at(accounts, scripted_bank, "new", INSTITUTION, checking("new", mask="0002"))
    accounts.run("monday")
    scripted_bank.script("new", checking("new"))
    accounts.run("tuesday")
    assert rows(PAIRS) == []


def test_an_institution_that_is_found_is_kept_although_the_accounts_take_too_long(
    accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linking, "INSTITUTION_TIMEOUT", timedelta(milliseconds=400))
    link_at(accounts, scripted_bank, "new", INSTITUTION, Answer(b"", 503))
    assert rows("select institution_id, institution_name from core.provider_accounts") == [("ins_1", "Bank")]
