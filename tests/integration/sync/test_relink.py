"""A login that is linked again brings the same money under new ids, and it counts once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.catalog.entities import ENTITIES
from etl.catalog.entities.accounts import ACCOUNTS
from etl.sync.history import corrections
from etl.sync.history.after_merge import MAX_GAP
from etl.sync.logins.relink import replace_earlier_logins, restore_login
from etl.sync.logins.store import provider_accounts
from etl.sync.logins.store.login_state import LoginState
from etl.sync.logins.store.replaced_accounts import LinkedAccount
from etl.sync.store.reconciliations import ALWAYS_TOLERATED_ABSENCES
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import FIRST, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
CHECKING = LinkedAccount(0, "checking", None, "0001", "depository", "checking", "USD")
SAVINGS = LinkedAccount(0, "savings", None, "0002", "depository", "savings", "USD")
LIVE = "select provider_account_id, transaction_id from core.transactions where removed_at is null order by 1, 2"
TODAY = FIRST.date()
USERS = count()


def link(pipeline: Pipeline, item: str, *accounts: LinkedAccount, user: str = "ada", institution: str = "ins_1") -> int:
    """Link a login, anew or again, whose accounts have ids of their own, load its accounts, and return it."""
    login = provider_accounts.enrol(
        pipeline.db,
        pipeline.cipher,
        provider="plaid",
        user=user,
        item_id=item,
        access_token=item,
        history_days=730,
        institution_id=institution,
        institution_name="Bank",
    )
    own = [
        replace(account, provider_account_id=login, account_id=f"{item} {account.account_id}") for account in accounts
    ]
    replace_earlier_logins(own, db=pipeline.db)
    for account in own:
        pipeline.db.execute(
            "insert into core.accounts (provider_account_id, account_id, persistent_id, mask, type, subtype, currency, "
            "observed_at, raw_id) values (%s, %s, %s, %s, %s, %s, %s, now(), %s) on conflict do nothing",
            (
                *(login, account.account_id, account.persistent_id, account.mask, account.type, account.subtype),
                *(account.currency, raw_batch(pipeline)),
            ),
        )
    return login


def raw_batch(pipeline: Pipeline) -> int:
    """Return a raw batch that rows can name."""
    first = pipeline.db.execute("select min(raw_id) from etl.raw_batches").fetchall()[0][0]
    return int(first) if first else pipeline.seal_pages(run_id="accounts")


def load(
    pipeline: Pipeline,
    login: int,
    item: str,
    *days_and_amounts: tuple[date, int],
    account: str = "checking",
    whole: bool = False,
) -> None:
    """Load transactions of an account, each named after its item and its position.

    Parameters
    ----------
    whole
        Whether they are all that the bank has.
    """
    records = [
        transaction(transaction_id=f"{item} {number}", account_id=f"{item} {account}", date=str(day), amount=amount)
        for number, (day, amount) in enumerate(days_and_amounts)
    ]
    moved = pipeline.db.execute("select value from etl.cursors where provider_account_id = %s", (login,)).fetchall()
    cursor = moved[0][0] if moved else ""
    now = datetime.now(UTC)
    pipeline.load(
        pipeline.seal_pages(
            (login, page(added=records)), run_id=f"{item} {cursor}", moves=f"{cursor}>{cursor}x", at=now, whole=whole
        )
    )


def days(*amounts: int, until: date = TODAY) -> list[tuple[date, int]]:
    """Return one transaction a day, the last of them today."""
    return [(until - timedelta(days=len(amounts) - 1 - number), amount) for number, amount in enumerate(amounts)]


def test_the_same_money_counts_once_and_what_only_the_earlier_login_knew_stays(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(1, 2, 3, 4))
    new = link(pipeline, "new", CHECKING)
    assert len(rows(LIVE)) == 4, "until the new login was read, the earlier one has the only rows"
    load(pipeline, new, "new", *days(3, 4, 5, until=TODAY + timedelta(days=1)))
    assert rows(LIVE) == [(old, "old 0"), (old, "old 1"), (new, "new 0"), (new, "new 1"), (new, "new 2")]
    assert rows("select distinct removed_for from core.transactions where removed_at is not null") == [("replaced",)]
    assert rows("select state, replaced_by from core.provider_accounts order by 1") == [
        ("active", None),
        ("replaced", new),
    ]
    assert rows("select count(*) from core.accounts where closed_on is null") == [(1,)]


@pytest.mark.parametrize("again", [{"user": "bob"}, {"institution": "ins_2"}])
def test_a_login_of_another_user_or_institution_replaces_nothing(
    pipeline: Pipeline, rows: Rows, again: dict[str, str]
) -> None:
    for mask, persistent_id in (("0001", None), ("0002", "p")):
        account = replace(CHECKING, mask=mask, persistent_id=persistent_id)
        link(pipeline, f"old {mask}", account)
        link(pipeline, f"new {mask}", account, **again)
    assert rows("select distinct state from core.provider_accounts") == [("active",)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([replace(CHECKING, persistent_id="p")], [replace(CHECKING, persistent_id="p", mask="9")], ["persistent_id"]),
        ([replace(CHECKING, persistent_id="p")], [replace(CHECKING, persistent_id="q")], []),
        ([replace(CHECKING, persistent_id="p")], [CHECKING], ["mask"]),
        ([CHECKING], [replace(CHECKING, mask="9")], []),
        ([CHECKING], [replace(CHECKING, type="credit")], []),
        ([CHECKING], [replace(CHECKING, currency="EUR")], []),
        ([replace(CHECKING, mask=None)], [replace(CHECKING, mask=None)], []),
        ([CHECKING], [CHECKING, replace(CHECKING, account_id="twin")], []),
        ([CHECKING, SAVINGS], [SAVINGS], ["mask"]),
    ],
    ids=[
        "persistent",
        "other persistent",
        "one persistent",
        "mask",
        "type",
        "currency",
        "no mask",
        "twins",
        "one of two",
    ],
)
def test_accounts_are_the_same_by_persistent_id_or_by_mask_type_and_currency(
    pipeline: Pipeline, rows: Rows, old: list[LinkedAccount], new: list[LinkedAccount], expected: list[str]
) -> None:
    link(pipeline, "old", *old)
    link(pipeline, "new", *new)
    assert rows("select matched_by from core.replaced_accounts") == [(each,) for each in expected]


def test_an_account_that_was_not_linked_again_keeps_its_rows_and_balance(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING, SAVINGS)
    load(pipeline, old, "old", *days(1), account="savings")
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", *days(2))
    assert rows(LIVE) == [(old, "old 0"), (new, "new 0")]
    assert rows("select account_id from core.accounts where closed_on is null order by 1") == [
        ("new checking",),
        ("old savings",),
    ]


def test_a_record_of_long_ago_does_not_end_the_history_in_between(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    long_ago, later = TODAY - timedelta(days=2_000), TODAY - timedelta(days=1_500)
    load(pipeline, old, "old", (long_ago, 7), (long_ago, 7), (later, 8))
    new = link(pipeline, "new", CHECKING)
    for _ in range(2):
        load(pipeline, new, "new", (long_ago, 7), (TODAY, 1))
        assert rows(LIVE) == [(old, "old 1"), (old, "old 2"), (new, "new 0"), (new, "new 1")]


def test_without_a_promise_of_history_only_repeated_rows_end(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(1, 2, 3))
    new = link(pipeline, "new", CHECKING)
    pipeline.db.execute("update core.provider_accounts set history_days = null")
    load(pipeline, new, "new", *days(1, 7, 3))
    assert rows(LIVE) == [(old, "old 1"), (new, "new 0"), (new, "new 1"), (new, "new 2")]


def test_what_a_user_corrected_is_carried_to_the_transaction_that_repeats_it(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", (TODAY, 7), (TODAY, 7), (TODAY, 8))
    corrections.correct(pipeline.db, old, "old 1", values={"category": "RENT", "note": "flat"}, corrected_by="ada")
    new = link(pipeline, "new", CHECKING)
    for _ in range(2):
        load(pipeline, new, "new", (TODAY, 7), (TODAY, 7), (TODAY, 8))
        assert rows("select provider_account_id, transaction_id, category, note from core.corrections order by 1") == [
            (old, "old 1", "RENT", "flat"),
            (new, "new 1", "RENT", "flat"),
        ]


def test_linking_a_bank_again_is_recognised_by_its_accounts(
    own_bank_pipeline: Pipeline, own_bank: OwnBank, rows: Rows
) -> None:
    (old,) = own_bank_pipeline.link(1)
    accounts = replace(own_bank_pipeline, entity=ACCOUNTS, source="accounts_get")
    accounts.run("accounts")
    own_bank_pipeline.run("first")
    live = "select dated_on, amount, currency from core.transactions where removed_at is null order by 1, 2, 3"
    money = rows(live)
    own_bank.set_faults({"linked_again": 1.0})
    (new,) = own_bank_pipeline.link(1)
    own_bank.set_faults({})
    assert rows("select provider_account_id, state, replaced_by from core.provider_accounts order by 1") == [
        (old, "replaced", new),
        (new, "active", None),
    ]
    own_bank_pipeline.run("second")
    assert rows(live) == money
    assert rows("select distinct provider_account_id from core.transactions where removed_at is null") == [(new,)]


def test_a_pending_row_of_the_earlier_login_ends_since_nobody_would_post_it(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    hold = transaction(transaction_id="hold", account_id="old checking", date="2020-01-01", pending=True)
    pipeline.load(pipeline.seal_pages((old, page(added=[hold]))))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", *days(1))
    assert rows(LIVE) == [(new, "new 0")]


def test_a_replacement_can_be_undone_and_is_not_found_again(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(1, 2))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", *days(1, 2))
    assert restore_login(old, entities=ENTITIES, db=pipeline.db) is LoginState.ACTIVE
    expected = [(old, "old 0"), (old, "old 1"), (new, "new 0"), (new, "new 1")]
    assert rows(LIVE) == expected
    assert rows("select distinct state from core.provider_accounts") == [("active",)]
    assert rows("select count(*) from core.accounts where closed_on is null") == [(2,)]
    replace_earlier_logins([replace(CHECKING, provider_account_id=new, account_id="new checking")], db=pipeline.db)
    load(pipeline, new, "new", *days(1, 2))
    assert rows(LIVE) == expected
    assert restore_login(old, entities=ENTITIES, db=pipeline.db) is None


def test_a_login_that_was_linked_thrice_counts_once(pipeline: Pipeline, rows: Rows) -> None:
    for item in ("first", "second", "third"):
        login = link(pipeline, item, CHECKING)
        load(pipeline, login, item, *days(1, 2, 3))
    assert {login for login, _ in rows(LIVE)} == {login}
    assert len(rows(LIVE)) == 3


def test_replaying_a_batch_of_the_earlier_login_brings_nothing_back(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(1, 2))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", *days(1, 2))
    live = rows(LIVE)
    for (raw_id,) in rows("select raw_id from etl.loads order by 1 desc"):
        pipeline.replay(int(str(raw_id)))
        assert rows(LIVE) == live


AMOUNTS = st.lists(st.tuples(st.integers(0, MAX_GAP.days), st.integers(1, 2)), max_size=8)
"""Days and amounts; the days lie so near to each other that the later login covers all after its first."""


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(earlier=AMOUNTS, renewed=AMOUNTS)
def test_what_a_login_repeats_counts_once_and_what_it_does_not_know_is_lost_only_where_it_covers_the_days(
    pipeline: Pipeline, earlier: list[tuple[int, int]], renewed: list[tuple[int, int]]
) -> None:
    first = TODAY - MAX_GAP
    user = f"user {next(USERS)}"
    old = link(pipeline, f"old {user}", CHECKING, user=user)
    load(pipeline, old, f"old {user}", *((first + timedelta(days=day), amount) for day, amount in earlier))
    new = link(pipeline, f"new {user}", CHECKING, user=user)
    load(pipeline, new, f"new {user}", *((first + timedelta(days=day), amount) for day, amount in renewed))
    live = {login: live_money(pipeline, login, first) for login in (old, new)}
    assert live[new] == Counter(renewed)
    others = Counter(earlier) - Counter(renewed)
    assert live[old] <= others, "what is repeated counts once"
    start = min((day for day, _ in renewed), default=MAX_GAP.days)
    covered = Counter({money: number for money, number in others.items() if money[0] > start})
    if covered.total() <= ALWAYS_TOLERATED_ABSENCES:
        assert not live[old] & covered
    unmatched = Counter(amount for _, amount in (Counter(renewed) - Counter(earlier)).elements())
    lost = Counter(amount for _, amount in (others - covered - live[old]).elements())
    assert lost <= unmatched, "each has a row of the later login in its place"


def live_money(pipeline: Pipeline, login: int, first: date) -> Counter[tuple[int, int]]:
    """Return how often a login has an amount on a day, by days since the first one."""
    query = (
        "select dated_on - %s, amount::int from core.transactions where removed_at is null and provider_account_id = %s"
    )
    return Counter(pipeline.db.execute(query, (first, login)).fetchall())
