"""SimpleFIN, synced from the sandbox bank as it is declared: rows, sums and states are those of the bank's truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.bank.bank import Bank
from dev.bank.changes import Access, AccessChanged
from dev.bank.faults import Fault
from dev.bank.simplefin import truth
from dev.bank.simplefin.access import User
from etl.catalog.entities.simplefin_accounts import SIMPLEFIN_ACCOUNTS
from etl.catalog.entities.simplefin_transactions import SIMPLEFIN_TRANSACTIONS
from etl.catalog.providers.simplefin import SIMPLEFIN
from etl.declare.entity import Entity
from etl.settings import Endpoint
from etl.sync.logins.link import Linking, PublicTokenRefused, enrol_logins
from etl.sync.store.loads import LoadCounts
from tests.integration.sync import simplefin_rows
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import Pipeline

Rows = Callable[..., list[tuple[Any, ...]]]
TODAY = datetime.now(UTC).date()
"""The day of the warehouse, to which the lists of recent days reach."""

ENTITIES = (SIMPLEFIN_ACCOUNTS, SIMPLEFIN_TRANSACTIONS)
USERS = 3


@dataclass
class Sync:
    """Links users of the bank, runs both entities, and compares the warehouse with the bank."""

    pipeline: Pipeline
    server: OwnBank
    rows: Rows
    logins: dict[int, int] = field(default_factory=dict)
    runs: int = 0

    @property
    def bank(self) -> Bank:
        return self.server.bank

    def create_setup_token(self, user: int) -> str:
        return simplefin_rows.grant(self.server.endpoint, user)

    def link(self, user: int, token: str = "", item_id: str = "") -> int:
        """Link a user, and return the login."""
        pipeline = self.pipeline
        linking = Linking(SIMPLEFIN, str(user), pipeline.db, pipeline.cipher, pipeline.endpoint, pipeline.limiter)
        (self.logins[user],) = enrol_logins(linking, token or self.create_setup_token(user), item_id=item_id)
        return self.logins[user]

    def run(self, *entities: Entity) -> list[LoadCounts]:
        """Run entities on a day of their own, as far as quotas are concerned."""
        self.runs += 1
        self.pipeline.db.execute("update etl.provider_calls set called_at = called_at - interval '1 day'")
        counts = []
        for entity in entities or ENTITIES:
            self.pipeline.entity = replace(entity, provider=replace(SIMPLEFIN, retries=2))
            counts += self.pipeline.run(f"run {self.runs}")
        return counts

    def report(self) -> dict[str, int]:
        """Report the latest run of the entity that ran last."""
        return self.pipeline.report(f"run {self.runs}")

    def transactions(self, user: int) -> dict[str, dict[str, Any]]:
        """Return the live transactions of a user, by id."""
        return simplefin_rows.transactions(self.bank, user, self.rows)

    def accounts(self, user: int) -> dict[str, dict[str, Any]]:
        """Return the accounts of a user, by id."""
        return simplefin_rows.accounts(self.bank, user, self.rows)

    def require_truth(self) -> None:
        """Compare accounts, transactions, sums and ended rows with what the bank has today."""
        for user in self.logins:
            simplefin_rows.check_accounts(self.bank, user, self.rows)
            simplefin_rows.check_transactions(self.bank, user, self.rows)


@pytest.fixture
def sync(own_bank_pipeline: Pipeline, own_bank: OwnBank, rows: Rows) -> Sync:
    """Return the steps of both entities, and a bank whose day is some days before that of the warehouse."""
    own_bank.serve(Bank.from_seed("moods", opened_on=TODAY - timedelta(days=45), today=TODAY - timedelta(days=8)))
    endpoint = Endpoint(f"{own_bank.endpoint.host}/simplefin")
    return Sync(replace(own_bank_pipeline, endpoint=endpoint), own_bank, rows)


def test_rows_sums_and_states_are_those_of_the_bank_while_days_pass(sync: Sync, rows: Rows) -> None:
    for user in range(USERS):
        sync.link(user)
    sync.run()
    sync.require_truth()
    accounts, transactions = sync.run()
    assert (accounts.unchanged, accounts.inserted, accounts.updated) == (accounts.read, 0, 0)
    assert (transactions.unchanged, transactions.inserted, transactions.updated) == (transactions.read, 0, 0)
    for days in (2, 1, 4):
        sync.server.advance_day(days)
        sync.run()
        sync.require_truth()
    assert sync.bank.today < TODAY
    ended: dict[str, int] = dict(
        rows("select removed_for, count(*) from core.simplefin_transactions where pending group by 1")
    )
    assert ended["posted"] > 10
    assert rows("select distinct state from core.provider_accounts") == [("active",)]
    assert rows("select count(*) from etl.reconciliations where state = 'pending'") == [(0,)]


FAULTS = {
    "server_error": 0.15,
    "truncated_body": 0.1,
    "not_json": 0.1,
    "connection_reset": 0.1,
    "bad_gateway": 0.05,
    "duplicate": 0.2,
    "emoji_name": 0.1,
    "nul_name": 0.05,
    "amount_noise": 0.1,
    "bad_optional_field": 0.05,
    "wrong_type": 0.02,
    "tiny_exponent": 0.02,
    "huge_amount": 0.01,
    "late_posting": 0.2,
    "corrected": 0.2,
}


def test_faults_of_the_server_cost_no_row_and_bad_records_only_themselves(sync: Sync, rows: Rows) -> None:
    sync.server.set_faults(FAULTS)
    for user in range(USERS):
        sync.link(user)
    for days in (0, 3, 3):
        sync.server.advance_day(days)
        sync.run()
    sync.run()
    rejected = {
        identity
        for number in sync.logins
        for identity, row in truth.transaction_rows(sync.bank, User.of(sync.bank, number)).items()
        if row is None
    }
    assert rejected
    found = rows(
        "select split_part(record_id, chr(31), 3) from etl.rejects "
        "where entity = 'simplefin_transactions' and closed_at is null"
    )
    assert {identity for (identity,) in found} >= rejected
    sync.require_truth()


def test_a_bank_that_needs_a_login_stops_neither_its_login_nor_its_other_bank(
    sync: Sync, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    sync.link(1)
    sync.run()
    before = sync.transactions(1)
    broken = User.of(sync.bank, 1).items[1]
    sync.bank.changes.record(AccessChanged(broken, Access.LOCKED))
    sync.server.advance_day(3)
    sync.run()
    connection = f"CON-{sync.bank.ledger(broken).item.item_id}"
    expected = truth.transaction_rows(sync.bank, User.of(sync.bank, 1))
    live = sync.transactions(1)
    assert {id_: row for id_, row in live.items() if row["connection_id"] != connection} == {
        id_: row for id_, row in expected.items() if row and row["connection_id"] != connection
    }
    kept = {id_: row for id_, row in live.items() if row["connection_id"] == connection}
    assert kept == {id_: row for id_, row in before.items() if row["connection_id"] == connection} != {}
    assert sync.report()["accounts_incomplete"] == 1
    assert f"connection_id {connection} lacks records: con.auth: Authentication failed for" in caplog.text
    assert rows("select state from core.provider_accounts") == [("active",)]
    assert rows("select distinct part_column, part, code from etl.gaps") == [("connection_id", connection, "con.auth")]
    sync.bank.changes.record(AccessChanged(broken, Access.OPEN))
    sync.run()
    sync.require_truth()
    assert "accounts_incomplete" not in sync.report()


def test_a_list_that_says_that_it_is_incomplete_ends_no_row_of_its_account(sync: Sync, rows: Rows) -> None:
    sync.link(1)
    sync.run()
    before = sync.transactions(1)
    sync.server.set_faults({"window_shift": 1})
    sync.run(SIMPLEFIN_TRANSACTIONS)
    assert sync.transactions(1) == before
    reasons = rows("select skipped from etl.reconciliations where skipped is not null")
    assert all("the provider answers act.missingdata for ACT-" in reason for (reason,) in reasons)
    assert reasons
    sync.server.set_faults({})
    sync.run(SIMPLEFIN_TRANSACTIONS)
    assert sync.transactions(1) == before


def test_an_account_that_is_missing_without_a_word_keeps_its_rows(sync: Sync) -> None:
    sync.link(1)
    sync.run()
    before = sync.accounts(1)
    transactions = sync.transactions(1)
    sync.server.set_faults({"vanishing_account": 1})
    sync.run()
    assert sync.accounts(1).keys() == before.keys()
    assert sync.transactions(1) == transactions


def test_a_setup_token_serves_once(sync: Sync) -> None:
    token = sync.create_setup_token(0)
    sync.link(0, token)
    with pytest.raises(PublicTokenRefused, match=r"does not accept the public token \(gen\.auth\)"):
        sync.link(0, token)


def test_an_access_that_its_user_has_disabled_needs_a_login_and_its_rows_stay_the_same_when_linked_again(
    sync: Sync, rows: Rows
) -> None:
    for user in range(USERS):
        sync.link(user)
    sync.run()
    faults = sync.bank.faults
    sync.server.set_faults({"revoked": 1})
    for user in (0, 2):
        (item, _) = User.of(sync.bank, user).items
        assert faults.strikes_item(sync.bank.key, Fault.REVOKED, item)
        faults.restore_item(item)
    sync.server.advance_day(2)
    sync.run()
    sync.report()
    states = "select provider_account_id, state, state_reason from core.provider_accounts where state <> 'active'"
    assert rows(states) == [(sync.logins[1], "needs_login", "gen.auth")]
    ((item_id,),) = rows("select item_id from core.provider_accounts where state = 'needs_login'")
    login = sync.logins[1]
    assert sync.link(1, item_id=item_id) == login
    sync.run()
    sync.require_truth()
    assert rows(states) == []


def test_a_login_that_asks_too_often_is_late_before_the_server_ends_its_access(sync: Sync, rows: Rows) -> None:
    sync.link(0)
    sync.pipeline.entity = SIMPLEFIN_ACCOUNTS
    for run in range(13):
        sync.pipeline.run(f"often {run}")
    assert rows("select distinct outcome from etl.left_out") == [("starved",)]
    assert rows("select count(*) from etl.gaps") == [(0,)]
