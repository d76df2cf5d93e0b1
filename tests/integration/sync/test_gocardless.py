"""GoCardless Bank Account Data, by declaration only, against its sandbox: rows are what the bank's ledgers say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.bank.bank import Bank
from dev.bank.gocardless import records
from dev.bank.gocardless.desk import Desk
from dev.bank.gocardless.records import Ids
from dev.bank.truth import gocardless as truth
from dev.bank.truth.gocardless import AccountTruth
from etl.catalog.entities.gocardless_accounts import GOCARDLESS_ACCOUNTS
from etl.catalog.entities.gocardless_transactions import GOCARDLESS_TRANSACTIONS
from etl.catalog.providers.gocardless import ACCOUNT_DETAILS, ACCOUNT_TRANSACTIONS, GOCARDLESS
from etl.db import migrations
from etl.errors import TransientError
from etl.settings import Endpoint
from etl.sync.logins.breaker import LoginsLate
from etl.sync.logins.link import Linking, enrol_logins
from tests.integration.sync.gocardless_rows import check_transactions, grant
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import Pipeline

Rows = Callable[..., list[tuple[Any, ...]]]
TODAY = datetime.now(UTC).date()
START = TODAY - timedelta(days=14)
PROVIDER = replace(GOCARDLESS, retries=2)
ACCOUNTS = replace(GOCARDLESS_ACCOUNTS, provider=PROVIDER, source=replace(ACCOUNT_DETAILS, limits=()))
TRANSACTIONS = replace(
    GOCARDLESS_TRANSACTIONS,
    provider=PROVIDER,
    source=replace(ACCOUNT_TRANSACTIONS, limits=()),
    # Accounts have few rows here, and many of them are pending.
    tolerated_rejects=0.5,
    tolerated_absences=0.5,
)
REQUEST_FAULTS = {
    **dict.fromkeys(
        ("server_error", "bad_gateway", "not_json", "truncated_body", "connection_reset", "rate_limit"), 0.1
    ),
    "expired_token": 0.02,
}
LOGIN_FAULTS = {"login_required": 0.4, "revoked": 0.2, "not_ready": 0.2}
RECORD_FAULTS = dict.fromkeys(
    (
        *("duplicate", "unknown_currency", "huge_amount", "nul_name", "emoji_name", "missing_field", "wrong_type"),
        *("tiny_exponent", "amount_noise", "bad_optional_field", "invalid_correction", "bad_posting", "corrected"),
        "moved_account",
    ),
    0.01,
)
READ = (
    "select l.provider_account_id from etl.recent_reads as l join etl.raw_batches as b using (raw_id) "
    "join etl.chunks as c using (chunk_id) where c.run_id = %s"
)
"""Logins that a run has read and loaded."""


class Customers:
    """Users of the bank, who have granted their accounts: at least one for each way in which banks send ids."""

    def __init__(self, pipeline: Pipeline, own_bank: OwnBank) -> None:
        own_bank.serve(Bank.from_seed("moods", opened_on=START - timedelta(days=30), today=START))
        self.pipeline, self.own_bank = pipeline, own_bank
        base = own_bank.endpoint
        pipeline.endpoint = Endpoint(f"{base.host}/gocardless/api/v2", login=base.login, password=base.password)
        migrations.migrate(pipeline.db, [ACCOUNTS, TRANSACTIONS])
        pipeline.entity = TRANSACTIONS
        by_ids: dict[Ids, int] = {}
        for number in range(40):
            by_ids.setdefault(records.ids_of(self.bank.ledger(number).item.institution), number)
        self.users = sorted(by_ids.values())
        assert len(self.users) == len(Ids)

    @property
    def bank(self) -> Bank:
        """The bank, as of its current day."""
        return self.own_bank.bank

    @property
    def desk(self) -> Desk:
        """What the bank remembers of its client."""
        desk: Desk = self.own_bank._app.state.gocardless
        return desk

    def link(self, *users: int, **terms: object) -> list[int]:
        """Link the accounts of users, and return the ids of their provider accounts."""
        pipeline = self.pipeline
        return [
            login
            for user in users or self.users
            for login in enrol_logins(
                Linking(GOCARDLESS, str(user), pipeline.db, pipeline.cipher, pipeline.endpoint, pipeline.limiter),
                grant(self.own_bank.endpoint, user, **terms),
            )
        ]

    def advance(self, days: int) -> None:
        """Let days pass, at the bank and for the calls that the warehouse counts."""
        self.own_bank.advance_day(days)
        self.pipeline.db.execute("update etl.provider_calls set called_at = called_at - interval '25 hours'")
        self.pipeline.db.execute("delete from etl.provider_blocks")

    def truth(self) -> list[AccountTruth]:
        """Return what the warehouse must hold."""
        return [account for user in self.users for account in truth.of_item(self.bank, user)]


@pytest.fixture
def customers(own_bank_pipeline: Pipeline, own_bank: OwnBank) -> Customers:
    return Customers(own_bank_pipeline, own_bank)


def test_rows_states_and_sums_are_those_of_the_ledgers_day_after_day(customers: Customers, rows: Rows) -> None:
    logins = customers.link()
    assert customers.pipeline.run("first")[0].inserted == sum(len(each.live) for each in customers.truth())
    check_transactions(customers.truth(), rows)
    (again,) = customers.pipeline.run("again")
    assert (again.inserted, again.updated, again.read) == (0, 0, again.unchanged)
    for days in (1, 2, 4, 6):
        customers.advance(days)
        customers.pipeline.run(f"{days} days later")
        check_transactions(customers.truth(), rows)
    counts: dict[str, int] = dict(
        rows("select removed_for, count(*) from core.gocardless_transactions where pending group by 1")
    )
    assert counts["posted"] > counts["absent"] / 4
    customers.pipeline.report("first")
    assert rows("select distinct state, institution_id from core.provider_accounts order by 2")[0][0] == "active"
    assert len(logins) == len(customers.truth())


def test_accounts_are_those_of_the_bank(customers: Customers, rows: Rows) -> None:
    customers.link()
    customers.pipeline.entity = ACCOUNTS
    customers.pipeline.run("first")
    expected = {account.account_id: account.details for account in customers.truth()}
    names = [column.name for column in ACCOUNTS.columns]
    found = rows(f"select {', '.join(names)} from core.gocardless_accounts where closed_on is null")
    assert {row[0]: dict(zip(names, row, strict=True)) for row in found} == expected
    institutions = {records.institution_id(customers.bank.ledger(user).item.institution) for user in customers.users}
    assert set(rows("select institution_id from core.provider_accounts")) == {(each,) for each in institutions}


def test_with_faults_on_rows_states_and_sums_are_those_of_the_ledgers(customers: Customers, rows: Rows) -> None:
    customers.link()
    stopped: set[tuple[Any, ...]] = set()
    customers.own_bank.set_faults({**REQUEST_FAULTS, **LOGIN_FAULTS, **RECORD_FAULTS})
    for day in range(3):
        with suppress(TransientError):
            customers.pipeline.run(f"day {day}")
        customers.pipeline.report(f"day {day}")
        stopped |= set(rows("select item_id from core.provider_accounts where state = 'needs_login'"))
        customers.advance(2)
    struck = {fault.value for fault in customers.bank.faults.struck}
    assert len({*REQUEST_FAULTS, *LOGIN_FAULTS} & struck) >= 6
    assert stopped
    customers.own_bank.set_faults({**REQUEST_FAULTS, **RECORD_FAULTS})
    customers.link()
    left: set[tuple[Any, ...]] = set(rows("select provider_account_id from core.provider_accounts"))
    for run in map(str, range(20)):
        if not left:
            break
        with suppress(TransientError):
            customers.pipeline.run(run)
            left -= set(rows(READ, run))
        customers.advance(0)
    check_transactions(customers.truth(), rows)
    assert rows("select distinct state from core.provider_accounts") == [("active",)]


def test_a_login_without_calls_keeps_its_rows_and_is_late_until_the_next_day(customers: Customers, rows: Rows) -> None:
    logins = customers.link(customers.users[0])
    for number in range(4):
        customers.pipeline.run(f"run {number}")
        customers.pipeline.check_logins(f"run {number}")
    before = rows("select count(*), max(raw_id) from core.gocardless_transactions")
    customers.own_bank.advance_day(1)
    customers.pipeline.run("too often")
    assert customers.pipeline.report("too often")["accounts_starved"] == len(logins)
    with pytest.raises(LoginsLate, match=f"gocardless_transactions: {len(logins)} logins are late"):
        customers.pipeline.check_logins("too often")
    assert rows("select count(*), max(raw_id) from core.gocardless_transactions") == before
    customers.advance(0)
    customers.pipeline.run("next day")
    customers.pipeline.check_logins("next day")
    customers.users = customers.users[:1]
    check_transactions(customers.truth(), rows)


def test_calls_that_another_application_made_count_and_those_that_failed_do_not(
    customers: Customers, rows: Rows
) -> None:
    (login, *_) = customers.link(customers.users[0])
    customers.pipeline.entity = replace(TRANSACTIONS, provider=replace(PROVIDER, retries=0))
    customers.own_bank.set_faults({"server_error": 1.0})
    with suppress(TransientError):
        customers.pipeline.run("broken")
    customers.own_bank.set_faults({})
    assert rows("select count(*) from etl.provider_calls") == [(0,)]
    for (account,) in rows("select item_id from core.provider_accounts"):
        for _ in range(3):
            customers.desk.count(account, "transactions")
    customers.pipeline.run("last call")
    customers.pipeline.check_logins("last call")
    ((seconds,),) = rows(
        "select extract(epoch from blocked_until - now())::int from etl.provider_blocks where provider_account_id = %s",
        login,
    )
    assert 86_000 < seconds <= 86_400
    customers.pipeline.run("one too many")
    with pytest.raises(LoginsLate):
        customers.pipeline.check_logins("one too many")


def test_a_consent_is_foretold_and_then_stops_its_login_without_a_new_token(
    customers: Customers, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    customers.link(*customers.users[1:])
    ending = customers.link(customers.users[0], access_valid_for_days=3)
    customers.pipeline.run("first")
    assert customers.pipeline.report("first")["logins_consent_expiring"] == len(ending)
    assert f"the consents of {len(ending)} logins end within 7 days" in caplog.text
    issued = dict(customers.desk.issued)
    customers.advance(3)
    customers.pipeline.run("ended")
    customers.pipeline.report("ended")
    customers.pipeline.check_logins("ended")
    assert rows(
        "select provider_account_id, state_reason from core.provider_accounts where state = 'needs_login' order by 1"
    ) == [(login, "End User Agreement has expired") for login in ending]
    assert customers.desk.issued == issued
    assert customers.link(customers.users[0]) == ending
    customers.advance(0)
    customers.pipeline.run("again")
    check_transactions(customers.truth(), rows)


def test_a_token_that_expires_in_the_middle_is_refreshed_once_and_no_login_is_left_out(
    customers: Customers, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers.link()
    assert customers.desk.issued == {"new": 1, "refresh": 0}
    count, counted = Desk.count, []

    def count_and_expire(desk: Desk, account_id: str, scope: str) -> None:
        count(desk, account_id, scope)
        counted.append(account_id)
        if len(counted) == 3:
            desk.expire_all()

    monkeypatch.setattr(Desk, "count", count_and_expire)
    customers.pipeline.entity = replace(TRANSACTIONS, provider=replace(PROVIDER, concurrency=2))
    customers.pipeline.run("first")
    check_transactions(customers.truth(), rows)
    assert rows("select outcome from etl.left_out") == []
    assert customers.desk.issued == {"new": 1, "refresh": 1}


def test_a_new_agreement_with_less_history_ends_no_older_row(customers: Customers, rows: Rows) -> None:
    customers.users = [
        user for user in customers.users if records.ids_of(customers.bank.ledger(user).item.institution) is Ids.BOTH
    ]
    customers.link()
    customers.pipeline.run("first")
    customers.link(max_historical_days=5)
    customers.pipeline.run("second")
    check_transactions(customers.truth(), rows)


def test_a_bank_that_allows_no_more_calls_leaves_its_login_late(customers: Customers, rows: Rows) -> None:
    customers.link(customers.users[0])
    customers.own_bank.set_faults({"daily_limit": 1.0})
    customers.pipeline.run("first")
    assert {outcome for (outcome,) in rows("select outcome from etl.left_out")} == {"starved"}
    with pytest.raises(LoginsLate):
        customers.pipeline.check_logins("first")
