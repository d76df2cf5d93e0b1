"""Which rows of a login that was linked again end: what the later login repeats, and what it should have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.sync.history import corrections
from etl.sync.logins.relink import replace_earlier_logins
from etl.sync.logins.store import replaced_accounts
from tests.integration.sync.pipeline import LATER, Pipeline
from tests.integration.sync.test_relink import CHECKING, LIVE, TODAY, days, link, load
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
LIVE_OF = (
    "select transaction_id from core.transactions where removed_at is null and provider_account_id = %s order by 1"
)


@pytest.mark.parametrize("loan", [5, 14], ids=["that only the later login has", "that both have"])
def test_one_old_record_does_not_end_the_years_until_the_next(pipeline: Pipeline, rows: Rows, loan: int) -> None:
    old = link(pipeline, "old", CHECKING)
    years_ago = TODAY - timedelta(days=700)
    load(pipeline, old, "old", (years_ago, 14), *((TODAY - timedelta(days=30 * n), n) for n in range(1, 5)))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", (years_ago, loan), (TODAY, 99))
    kept = [f"old {number}" for number in range(int(loan == 14), 5)]
    assert rows(LIVE_OF, old) == [(each,) for each in kept]


@pytest.mark.parametrize(("gap", "ends"), [(7, True), (8, False)])
def test_a_row_that_is_lacking_ends_between_days_of_records_that_are_near(
    pipeline: Pipeline, rows: Rows, gap: int, *, ends: bool
) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", (TODAY - timedelta(days=2), 7))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", (TODAY - timedelta(days=gap), 1), (TODAY, 1))
    assert rows(LIVE_OF, old) == [] if ends else [("old 0",)]


@pytest.mark.parametrize(("lacking", "ends"), [(5, True), (6, False)])
def test_more_rows_than_a_handful_and_a_tenth_stay_and_a_warning_says_so(
    pipeline: Pipeline, rows: Rows, caplog: pytest.LogCaptureFixture, lacking: int, *, ends: bool
) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(*range(10, 10 + lacking)))
    new = link(pipeline, "new", CHECKING)
    for _ in range(2):
        load(pipeline, new, "new", (TODAY - timedelta(days=lacking), 1), *days(*[1] * lacking))
        assert len(rows(LIVE_OF, old)) == (0 if ends else lacking)
    message = f"{lacking} of its rows are lacking in the later login, but stay: they are too many to end them"
    assert (message in caplog.text) is not ends
    assert replaced_accounts.confirm(pipeline.db, old)
    assert not replaced_accounts.confirm(pipeline.db, new), "it was not replaced"
    load(pipeline, new, "new")
    assert rows(LIVE_OF, old) == []
    assert rows("select count(*) > 0 from core.transactions where provider_account_id = %s", new) == [(True,)]


def test_a_row_that_is_lacking_stays_while_a_record_of_the_later_login_is_rejected_which_may_be_it(
    pipeline: Pipeline, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(1, 2, 3))
    new = link(pipeline, "new", CHECKING)
    account = {"account_id": "new checking", "date": str(TODAY)}
    first, bad, second = (transaction(transaction_id=f"new {number}", **account) for number in range(3))
    first |= {"date": str(days(1, 2, 3)[0][0]), "amount": 1}
    added = page(added=[first, {**bad, "amount": "?"}, {**second, "amount": 3}])
    pipeline.load(pipeline.seal_pages((new, added), run_id="bad", at=LATER, moves=">a"))
    assert rows(LIVE_OF, old) == [("old 1",)]
    assert (
        "1 of its rows are lacking in the later login, but stay: records of the later login were rejected"
        in caplog.text
    )
    mended = page(modified=[{**bad, "amount": 9}])
    pipeline.load(pipeline.seal_pages((new, mended), run_id="mended", at=LATER + timedelta(hours=1), moves="a>b"))
    assert rows(LIVE_OF, old) == []


@pytest.mark.parametrize(("shift", "counted"), [(1, 60), (3, 60), (4, 110), (-3, 60)])
def test_the_same_purchase_that_the_bank_dates_some_days_apart_counts_once_where_the_cover_begins(
    pipeline: Pipeline, rows: Rows, shift: int, counted: int
) -> None:
    old = link(pipeline, "old", CHECKING)
    first = TODAY - timedelta(days=20)
    load(pipeline, old, "old", (first, 50), (TODAY, 10))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", (first + timedelta(days=shift), 50), (TODAY, 10))
    assert rows("select sum(amount)::int from core.transactions where removed_at is null") == [(counted,)]


def test_rows_that_are_dated_apart_are_matched_one_for_one_the_latest_first(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    first = TODAY - timedelta(days=20)
    before = [(first - timedelta(days=number), 50) for number in (40, 3, 2, 1)]
    load(pipeline, old, "old", *before)
    new = link(pipeline, "new", CHECKING)
    for _ in range(2):
        load(pipeline, new, "new", (first, 50), (first + timedelta(days=1), 50), (TODAY, 1))
        assert rows(LIVE_OF, old) == [("old 0",), ("old 1",)]


def test_a_purchase_that_the_bank_dates_apart_keeps_what_its_user_corrected(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", (TODAY - timedelta(days=1), 50))
    corrections.correct(pipeline.db, old, "old 0", values={"note": "flat"}, corrected_by="ada")
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", (TODAY, 50))
    assert rows("select note, carried_from from core.corrections where provider_account_id = %s", new) == [
        ("flat", ["old 0"])
    ]


def test_a_correction_that_came_from_several_logins_and_is_cleared_does_not_return(
    pipeline: Pipeline, rows: Rows
) -> None:
    first = link(pipeline, "first", CHECKING)
    load(pipeline, first, "first", (TODAY, 7))
    corrections.correct(pipeline.db, first, "first 0", values={"note": "flat"}, corrected_by="ada")
    for item in ("second", "third"):
        login = link(pipeline, item, CHECKING)
        load(pipeline, login, item, (TODAY, 7))
    note = "select note, carried_from from core.corrections where provider_account_id = %s"
    assert rows(note, login) == [("flat", ["first 0", "second 0"])]
    corrections.correct(pipeline.db, login, "third 0", values={}, cleared=["note"], corrected_by="ada")
    for _ in range(3):
        load(pipeline, login, "third", (TODAY, 7))
        assert rows(note, login) == [(None, ["first 0", "second 0"])]


def test_a_login_that_is_found_after_its_rows_were_loaded_replaces_others_with_its_next_load_even_an_empty_one(
    pipeline: Pipeline, rows: Rows
) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(1, 2))
    new = link(pipeline, "new")
    load(pipeline, new, "new", *days(1, 2))
    link_accounts(pipeline, new)
    assert len(rows(LIVE)) == 4
    load(pipeline, new, "new")
    assert rows(LIVE) == [(new, "new 0"), (new, "new 1")]


def test_logins_of_which_nothing_was_loaded_are_not_compared_again(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(1, 2))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", *days(1, 2))
    pipeline.db.execute("update core.transactions set removed_at = null, removed_for = null")
    load(pipeline, new, "new")
    assert len(rows(LIVE)) == 4
    load(pipeline, new, "new", *days(1, 2))
    assert len(rows(LIVE)) == 2


def test_comparing_and_ending_rows_reads_no_table_of_transactions_as_a_whole(pipeline: Pipeline, rows: Rows) -> None:
    others = pipeline.enrol(*(f"other {number}" for number in range(20)))
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(*range(1, 300)))
    names = "amount, currency, dated_on, pending, observed_at, raw_id"
    pipeline.db.execute(
        f"insert into core.transactions (provider_account_id, account_id, transaction_id, {names}) "
        f"select o.id, account_id, transaction_id || n, {names} from core.transactions, "
        "unnest(%s::bigint[]) as o (id), generate_series(1, 5) as n".encode(),
        (others,),
    )
    pipeline.db.execute("analyze core.transactions")
    new = link(pipeline, "new", CHECKING)
    records = [
        transaction(transaction_id=f"new {number}", account_id="new checking", date=str(day), amount=amount)
        for number, (day, amount) in enumerate(days(*range(1, 300)))
    ]
    raw_id = pipeline.seal_pages((new, page(added=records)), run_id="new", at=LATER)
    read = (
        "select sum(seq_tup_read)::int, sum(coalesce(idx_tup_fetch, 0))::int from pg_stat_xact_user_tables "
        "where relname like 'transactions_%' and relname not like '%history%'"
    )
    with pipeline.db.transaction():
        pipeline.load(raw_id)
        ((in_sequence, by_index),) = rows(read)
        assert rows(LIVE_OF, old) == []
    assert isinstance(in_sequence, int)
    assert isinstance(by_index, int)
    assert in_sequence < 1_000, "another login has 1,495 rows"
    assert by_index < 10_000, "all others have 30,000 rows"


def link_accounts(pipeline: Pipeline, login: int) -> None:
    """Let the accounts of a login be found to be those of an earlier one, after it was linked."""
    replace_earlier_logins([replace(CHECKING, provider_account_id=login, account_id="new checking")], db=pipeline.db)
