"""Steps whose process dies: after two deaths the login that kills it is found and left out, and the others load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from etl.db.connection import Connection
from etl.errors import ProviderUnavailable
from etl.sync.load import NotAcceptable, accept
from etl.sync.logins.store import logins
from etl.sync.logins.store.logins import LoginFilter
from etl.sync.records.decoder import PageDecoder
from etl.sync.store import interruptions, quarantines
from etl.sync.store.interruptions import Step
from etl.sync.store.landing import AccountPages
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
LOGINS = ["one", "two", "poison", "four"]
POISON = 3
INTERRUPTIONS = "select step, subject_id, entity, deaths, suspect, culprits from etl.interruptions"
SKIPPED = "select provider_account_id, outcome, reason, token_version from etl.left_out"
QUARANTINES = "select provider_account_id, entity, raw_id, rule, reason from etl.quarantines"
REASON = "its pages killed the process twice"
QUARANTINED = "select provider_account_id, entity, raw_id, rule, failures from etl.quarantines order by 1"
LOADED = "select provider_account_id from core.transactions order by 1"


@pytest.fixture
def steps(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> Pipeline:
    """Return the steps of a sync of four logins."""
    scripted_pipeline.enrol(*LOGINS)
    for token in LOGINS:
        scripted_bank.script(token, page(added=[transaction(transaction_id=token)], next_cursor="c"))
    scripted_pipeline.plan("run")
    return scripted_pipeline


@pytest.fixture
def poisoned_download() -> Iterator[pytest.MonkeyPatch]:
    """Let the process run out of memory whenever a page of the login `poison` is landed."""
    add = AccountPages.add

    def add_unless_poison(pages: AccountPages, *arguments: object) -> None:
        if pages.provider_account_id == POISON:
            raise MemoryError
        add(pages, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AccountPages, "add", add_unless_poison)
        yield patch


@pytest.fixture
def poisoned_transform() -> Iterator[pytest.MonkeyPatch]:
    """Let the process run out of memory whenever a page of the login `poison` is decoded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PageDecoder, "decode", _decode_unless_poison(PageDecoder.decode))
        yield patch


def _decode_unless_poison(decode: Callable[..., object]) -> Callable[..., object]:
    def decode_unless_poison(decoder: PageDecoder, body: bytes, **values: str) -> object:
        if b"poison" in body:
            raise MemoryError
        return decode(decoder, body, **values)

    return decode_unless_poison


@pytest.mark.usefixtures("poisoned_download")
def test_a_download_that_died_twice_reads_one_login_at_a_time_and_leaves_out_the_one_that_kills_it(
    steps: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    for deaths in range(2):
        with pytest.raises(MemoryError):
            steps.download("run")
        assert rows(INTERRUPTIONS) == [("download", 1, "transactions", deaths, None, [])]
    with pytest.raises(MemoryError):
        steps.download("run")
    assert rows(INTERRUPTIONS) == [("download", 1, "transactions", 2, POISON, [])]
    scripted_bank.requests.clear()
    assert steps.load(steps.fetch("run")).inserted == 3
    assert "poison" not in scripted_bank.requests
    assert rows(SKIPPED) == [(POISON, "quarantined", REASON, None)]
    assert rows("select outcome from etl.chunks") == [({"drained": 3, "quarantined": 1},)]
    assert rows(INTERRUPTIONS) == []
    assert rows("select provider_account_id from etl.cursors order by 1") == [(1,), (2,), (4,)]
    assert rows(QUARANTINED) == [(POISON, "transactions", None, "killed", 1)]
    (login,) = logins.find_page(steps.db, LoginFilter("quarantined", None), after=0, limit=10)
    assert (login.login, login.reason) == (POISON, "transactions: its pages killed the process twice")
    with pytest.raises(NotAcceptable, match="account 3 cannot be accepted: its pages killed the process"):
        accept(steps.entity, POISON, db=steps.db, root=steps.root)


def die(step: Callable[[], object], *, times: int) -> None:
    """Call a step that dies so many times."""
    for _ in range(times):
        with pytest.raises(MemoryError):
            step()


@pytest.mark.usefixtures("poisoned_download")
def test_the_next_run_tries_the_login_again_after_the_others_at_the_cost_of_one_death(
    steps: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    die(lambda: steps.download("run"), times=3)
    steps.load(steps.fetch("run"))
    steps.plan("next")
    scripted_bank.requests.clear()
    die(lambda: steps.download("next"), times=1)
    assert sorted(scripted_bank.requests) == sorted(LOGINS)
    assert list(scripted_bank.requests)[-1] == "poison"
    assert rows(INTERRUPTIONS) == [("download", 2, "transactions", 0, POISON, [])]
    steps.load(steps.fetch("next"))
    assert rows(QUARANTINED) == [(POISON, "transactions", None, "killed", 2)]


def test_a_login_that_no_longer_kills_its_download_is_loaded_and_not_quarantined_any_more(
    steps: Pipeline, rows: Rows, poisoned_download: pytest.MonkeyPatch
) -> None:
    die(lambda: steps.download("run"), times=3)
    steps.load(steps.fetch("run"))
    poisoned_download.undo()
    (counts,) = steps.run("next")
    assert counts.inserted == 1
    assert rows(QUARANTINED) == []


def test_a_window_does_not_end_the_quarantine_of_a_killed_download(steps: Pipeline, rows: Rows) -> None:
    interruptions.quarantine(steps.db, POISON, entity="transactions", source="transactions_sync")
    for source, expected in (("transactions_get", 1), ("transactions_sync", 0)):
        with steps.db.transaction():
            steps.db.execute("create temp table incoming_cursors (provider_account_id bigint) on commit drop")
            steps.db.execute("insert into incoming_cursors values (%s)", (POISON,))
            quarantines.release(steps.db, entity="transactions", source=source, own_source="transactions_sync")
        assert rows("select count(*) from etl.quarantines") == [(expected,)]


def test_a_login_that_kills_the_transform_of_one_run_costs_that_of_the_next_one_death(
    steps: Pipeline, rows: Rows, poisoned_transform: pytest.MonkeyPatch
) -> None:
    raw_id = steps.store_raw("run", steps.download("run"))
    die(lambda: steps.transform(raw_id), times=3)
    steps.load(steps.transform(raw_id))
    steps.plan("next")
    raw_id = steps.store_raw("next", steps.download("next"))
    die(lambda: steps.transform(raw_id), times=1)
    assert rows(INTERRUPTIONS) == [("transform", raw_id, "transactions", 0, POISON, [])]
    steps.load(steps.transform(raw_id))
    assert rows(QUARANTINED) == [(POISON, "transactions", raw_id, "killed", 2)]
    poisoned_transform.undo()
    steps.run("last")
    assert rows(QUARANTINED) == []


def test_an_error_of_a_step_is_not_hidden_by_a_warehouse_that_is_gone(
    steps: Pipeline, connect: Callable[[], Connection]
) -> None:
    db = connect()
    with pytest.raises(ValueError, match="the true error"), interruptions.watch(db, Step.DOWNLOAD, 1, entity="e"):
        db.close()
        raise ValueError("the true error")


@pytest.mark.usefixtures("poisoned_download")
def test_a_failure_in_order_is_no_death_and_forgets_no_culprit(
    steps: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    for _ in range(3):
        with pytest.raises(MemoryError):
            steps.download("run")
    for token in LOGINS:
        scripted_bank.script(token, Answer(b"", 503))
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            steps.download("run")
    assert rows(INTERRUPTIONS) == [("download", 1, "transactions", 2, None, [POISON])]


def test_a_step_that_ends_in_order_leaves_no_trace(steps: Pipeline, scripted_bank: ScriptedBank, rows: Rows) -> None:
    scripted_bank.script("one", Answer(b"", 503))
    steps.load(steps.fetch("run"))
    for token in LOGINS:
        scripted_bank.script(token, Answer(b"", 503))
    steps.plan("next")
    with pytest.raises(ProviderUnavailable):
        steps.download("next")
    assert rows(INTERRUPTIONS) == []


@pytest.mark.usefixtures("poisoned_transform")
def test_a_transform_that_died_twice_tries_each_login_and_leaves_out_the_one_that_kills_it(
    steps: Pipeline, rows: Rows
) -> None:
    raw_id = steps.store_raw("run", steps.download("run"))
    for deaths in range(2):
        with pytest.raises(MemoryError):
            steps.transform(raw_id)
        assert rows(INTERRUPTIONS) == [("transform", raw_id, "transactions", deaths, None, [])]
    with pytest.raises(MemoryError):
        steps.transform(raw_id)
    assert rows(INTERRUPTIONS) == [("transform", raw_id, "transactions", 2, POISON, [])]
    steps.load(steps.transform(raw_id))
    assert rows(LOADED) == [(1,), (2,), (4,)]
    assert rows("select provider_account_id from etl.cursors order by 1") == [(1,), (2,), (4,)]
    assert rows(SKIPPED) == [(POISON, "quarantined", REASON, None)]
    assert rows(QUARANTINED) == [(POISON, "transactions", raw_id, "killed", 1)]
    assert rows(INTERRUPTIONS) == []


def test_a_login_that_killed_a_transform_is_never_accepted_and_is_loaded_by_a_replay_that_survives(
    steps: Pipeline, rows: Rows
) -> None:
    raw_id = steps.store_raw("run", steps.download("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PageDecoder, "decode", _decode_unless_poison(PageDecoder.decode))
        for _ in range(3):
            with pytest.raises(MemoryError):
                steps.transform(raw_id)
        steps.load(steps.transform(raw_id))
    before = rows("select * from etl.loads"), rows(SKIPPED), rows(QUARANTINES)
    for entity in (steps.entity, replace(steps.entity, version=7)):
        with pytest.raises(NotAcceptable) as raised:
            accept(entity, POISON, db=steps.db, root=steps.root)
        assert f"cannot be accepted from raw batch {raw_id}: {REASON}, so that none of its records" in str(raised.value)
        assert f"`sluice replay transactions --batch {raw_id}`" in str(raised.value)
        assert "memory cap" in str(raised.value)
    assert (rows("select * from etl.loads"), rows(SKIPPED), rows(QUARANTINES)) == before
    assert steps.replay(raw_id).inserted == 1
    assert rows(LOADED) == [(1,), (2,), (POISON,), (4,)]
    assert (rows(QUARANTINES), rows(SKIPPED)) == ([], [])


def test_several_logins_that_kill_a_step_are_all_left_out(
    steps: Pipeline, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_id = steps.store_raw("run", steps.download("run"))
    decode = PageDecoder.decode

    def decode_unless_poison(decoder: PageDecoder, body: bytes, **values: str) -> object:
        if b"poison" in body or b"two" in body:
            raise MemoryError
        return decode(decoder, body, **values)

    monkeypatch.setattr(PageDecoder, "decode", decode_unless_poison)
    for _ in range(4):
        with pytest.raises(MemoryError):
            steps.transform(raw_id)
    steps.load(steps.transform(raw_id))
    assert rows(LOADED) == [(1,), (4,)]
    assert rows("select provider_account_id from etl.quarantines order by 1") == [(2,), (POISON,)]
