"""Lists that say themselves what they lack: the days are read again, accounts stay open, and kept pages say so, too."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import pytest

from etl.catalog.queues import ETL
from etl.db import migrations
from etl.declare.api.part import Part
from etl.declare.api.quota import Quota
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.provider import ErrorAction, ErrorRule
from etl.declare.source import Snapshot
from etl.settings import Endpoint
from tests.api_server import ApiServer, Received, Reply
from tests.integration.sync.movements import BANK, MOVEMENTS, SOURCE, TODAY, WITH_IDS, Bank, Rows, enrol, movement
from tests.integration.sync.pipeline import Pipeline

PROVIDER = replace(
    BANK,
    error_code="errors[].code",
    errors=(
        ErrorRule(ErrorAction.INCOMPLETE, status=200, code="gen.*"),
        ErrorRule(ErrorAction.INCOMPLETE, status=200, code="con.*", part=Part(field="bank", column="bank_id")),
        ErrorRule(ErrorAction.INCOMPLETE, status=200, code="act.*", part=Part(field="account", column="account_id")),
    ),
)
BANK_ID = Column("bank_id", ColumnType.TEXT, path="bank", required=False)
LISTED = replace(WITH_IDS, provider=PROVIDER, columns=(*WITH_IDS.columns, BANK_ID))
DEPOSITS = Entity(
    name="deposits",
    summary="Deposits at several banks of a login.",
    provider=PROVIDER,
    source=Snapshot(name="deposits_list", path="/deposits", upserts=("deposits[]",)),
    key=("provider_account_id", "deposit_id"),
    columns=(Column("deposit_id", ColumnType.TEXT, path="id"), BANK_ID),
    queue=ETL,
    schedule="0 0 * * *",
)
OPEN = "select deposit_id from core.deposits where closed_on is null order by 1"


@dataclass
class BankOfBanks(Bank):
    """A bank whose answers have errors, on their first page, and deposits."""

    deposits: list[dict[str, str]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)

    def respond(self, request: Received) -> Reply:
        """Return a page."""
        if request.path.endswith("/deposits"):
            return Reply({"deposits": self.deposits, "errors": self.errors})
        reply = super().respond(request)
        if request.query["page"] == "1" and isinstance(reply.body, dict):
            reply.body["errors"] = self.errors
        return reply


@pytest.fixture
def bank() -> BankOfBanks:
    return BankOfBanks()


@pytest.fixture
def pipeline(scripted_pipeline: Pipeline, api: ApiServer) -> Pipeline:
    """Return the steps of an entity of recent days, whose provider says what its answers lack, with one login."""
    migrations.migrate(scripted_pipeline.db, [LISTED, DEPOSITS])
    scripted_pipeline.endpoint = Endpoint(api.url)
    scripted_pipeline.entity = LISTED
    enrol(scripted_pipeline, "a1")
    return scripted_pipeline


def first_days(api: ApiServer) -> list[int]:
    """Return how many days ago each window began."""
    return [(TODAY - date.fromisoformat(request.query["from"])).days for request in api.requests]


def test_days_of_which_a_list_lacked_records_are_read_until_a_list_has_them(
    pipeline: Pipeline, bank: BankOfBanks, api: ApiServer, rows: Rows
) -> None:
    bank.booked = [movement("a")]
    pipeline.run("before the outage")
    pipeline.db.execute("update etl.recent_reads set last_on = last_on - 40, loaded_at = now() - interval '61 days'")
    bank.errors = [{"code": "con.auth", "bank": "broken"}]
    pipeline.run("outage")
    pipeline.run("outage goes on")
    bank.errors = []
    bank.booked.append(movement("first day of the outage", days_ago=40, bank="broken"))
    pipeline.run("works again")
    pipeline.run("as usual")
    assert first_days(api) == [59, 47, 47, 47, 29]
    assert rows("select bank_id from core.movements where bank_id is not null") == [("broken",)]
    assert rows("select is_complete from etl.recent_reads order by raw_id") == [(False,), (False,), (True,), (True,)]


def test_what_kept_pages_lack_is_recorded_when_another_attempt_continues_from_them(
    pipeline: Pipeline, bank: BankOfBanks, rows: Rows
) -> None:
    pipeline.entity = replace(LISTED, source=replace(SOURCE, quota=Quota(calls=1, per=timedelta(days=1))))
    bank.booked, bank.size = [movement("a"), movement("b")], 1
    bank.errors = [{"code": "con.auth", "bank": "broken"}]
    pipeline.run("first")
    pipeline.db.execute("update etl.provider_calls set called_at = called_at - interval '25 hours'")
    pipeline.run("next day")
    assert rows("select code, part from etl.gaps as g join etl.raw_batches using (chunk_id, attempt)") == [
        ("con.auth", "broken")
    ]
    assert rows("select is_complete from etl.recent_reads") == [(False,)]


@pytest.mark.parametrize(
    "case",
    [
        ({"code": "con.auth", "bank": "broken"}, ["a", "b", "unknown"]),
        ({"code": "act.failed", "account": "b"}, ["a", "b", "c", "unknown"]),
        ({"code": "gen.api"}, ["a", "b", "c", "unknown"]),
        ({"code": "con.auth", "bank": "other"}, ["a", "unknown"]),
    ],
    ids=["of their bank", "of a part that rows do not name", "of the login", "of another bank"],
)
def test_rows_of_which_a_snapshot_says_that_it_lacks_records_stay_open(
    pipeline: Pipeline,
    bank: BankOfBanks,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
    case: tuple[dict[str, str], list[str]],
) -> None:
    error, still_open = case
    pipeline.entity = DEPOSITS
    works, unknown = {"id": "a", "bank": "works"}, {"id": "unknown"}
    bank.deposits = [works, {"id": "b", "bank": "broken"}, {"id": "c", "bank": "works"}, unknown]
    pipeline.run("first")
    bank.deposits, bank.errors = [works], [error]
    pipeline.run("second")
    assert [name for (name,) in rows(OPEN)] == still_open
    assert f"which stay open: the provider answers {error['code']}" in caplog.text
    bank.errors = []
    pipeline.run("third")
    assert rows(OPEN) == [("a",)]


def test_kept_pages_of_other_days_than_are_requested_at_once_now_are_discarded(
    pipeline: Pipeline, bank: BankOfBanks, api: ApiServer
) -> None:
    source = replace(SOURCE, quota=Quota(calls=2, per=timedelta(days=1)), days_per_request=45)
    pipeline.entity = replace(LISTED, source=source)
    bank.booked, bank.size = [movement(f"m{number}") for number in range(6)], 2
    pipeline.run("first")
    pipeline.entity = replace(LISTED, source=replace(source, days_per_request=50, quota=None))
    pipeline.run("next")
    assert [request.query["page"] for request in api.requests] == ["1", "2", *"123123"]


def test_records_without_ids_are_never_read_on_from_a_list_of_an_earlier_attempt(
    pipeline: Pipeline, bank: BankOfBanks, api: ApiServer, rows: Rows
) -> None:
    quota = Quota(calls=1, per=timedelta(days=1))
    pipeline.entity = replace(LISTED, columns=(*MOVEMENTS.columns, BANK_ID), source=replace(SOURCE, quota=quota))
    bank.booked, bank.size = [movement(None, "-1"), movement(None, "-2")], 1
    pipeline.run("first")
    pipeline.db.execute("update etl.provider_calls set called_at = called_at - interval '25 hours'")
    bank.booked, bank.size = [movement(None, "-3"), movement(None, "-1")], 2
    pipeline.run("next day")
    assert [request.query["page"] for request in api.requests] == ["1", "1"]
    assert rows("select amount::int from core.movements order by 1") == [(1,), (3,)]
