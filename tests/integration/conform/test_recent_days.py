"""The conformance kit, against a list of recent days of a provider without a feed, and wrong copies of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.catalog.queues import ETL
from etl.conform import kit
from etl.conform.kit import Provided
from etl.conform.pytest_plugin import Conform
from etl.conform.verdict import Result, Verdict, find_wrong
from etl.declare.api.auth import TokenHeader
from etl.declare.api.paging import PageNumberPaging, ShortPage, Total
from etl.declare.api.request import Placeholder
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.provider import ErrorAction, ErrorRule, Provider
from etl.declare.source import Recent
from etl.settings import Endpoint
from etl.sync.provider.enrolment import GrantedItem
from tests.api_server import ApiServer, Received, Reply

TODAY = datetime.now(UTC).date()
BANK = Provider(
    name="bank",
    connection="bank",
    auth=TokenHeader(),
    wait_headers=("X-Wait",),
    errors=(ErrorRule(ErrorAction.STOP_ACCOUNT, code="EXPIRED", status=401, field="error.code"),),
)
SOURCE = Recent(
    name="movements_list",
    path="/accounts/{item_id}/movements",
    query={"from": Placeholder.FIRST_DAY, "page": Placeholder.PAGE_NUMBER, "size": Placeholder.PAGE_SIZE},
    upserts=("data.booked[]",),
    paging=PageNumberPaging(end=Total("total")),
    page_size=100,
    days=30,
    dated_by="dated_on",
)
MOVEMENTS = Entity(
    name="movements",
    summary="Movements of a bank without a feed.",
    provider=BANK,
    source=SOURCE,
    key=("provider_account_id", "movement_id"),
    columns=(
        Column("movement_id", ColumnType.TEXT, path="id"),
        Column("account_id", ColumnType.TEXT, fill=Placeholder.ITEM_ID),
        Column("dated_on", ColumnType.DATE, path="date", format="%d.%m.%Y"),
        Column("amount", ColumnType.MONEY),
        Column("currency", ColumnType.TEXT),
        Column("note", ColumnType.TEXT, required=False),
    ),
    currencies=("currency",),
    queue=ETL,
    schedule="0 0 * * *",
)
ITEMS = [GrantedItem(f"account-{number}", f"secret-token-{number}") for number in range(2)]


def respond(request: Received) -> Reply:
    """Return a page of at most five of the 18 movements of an account."""
    number = request.path.split("/")[2].removeprefix("account-")
    if request.headers["authorization"] != f"Bearer secret-token-{number}":
        return Reply({"error": {"code": "EXPIRED"}}, 401)
    size = min(int(request.query["size"]), 5)
    start = (int(request.query["page"]) - 1) * size
    page = [movement(number, ordinal) for ordinal in range(start, min(start + size, 18))]
    return Reply({"data": {"booked": page, "of": request.headers["authorization"]}, "total": 18})


def movement(account: str, ordinal: int) -> dict[str, Any]:
    dated_on = TODAY - timedelta(days=ordinal)
    return {
        "id": f"{account}-{ordinal}",
        "date": dated_on.strftime("%d.%m.%Y"),
        "amount": f"{ordinal}.50",
        "currency": "EUR",
        "note": f"note {ordinal}",
    }


@pytest.fixture(scope="module")
def api() -> Iterator[ApiServer]:
    with ApiServer(respond) as api:
        yield api


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recording")


@pytest.fixture(scope="module")
def verdicts(api: ApiServer, recording: Path, server: Endpoint) -> dict[str, Verdict]:
    provided = Provided(Endpoint(api.url), ITEMS, record=recording)
    return {each.behaviour: each for each in kit.conform([MOVEMENTS], provided, server=server)}


def test_the_declaration_of_a_list_holds_whatever_the_bank_does(verdicts: dict[str, Verdict], recording: Path) -> None:
    assert find_wrong(verdicts.values()) == []
    unplayed = {name for name, each in verdicts.items() if each.result is Result.NOT_APPLICABLE}
    assert unplayed == {"removed before added", "cursor goes back", "duplicate record", kit.SIGNS}
    assert "secret-token" not in (recording / "movements_list.json").read_text()


def test_an_end_rule_that_takes_a_page_for_the_last_is_caught(api: ApiServer, server: Endpoint) -> None:
    short = replace(MOVEMENTS, source=replace(SOURCE, paging=PageNumberPaging(end=ShortPage())))
    verdicts = kit.conform([short], Provided(Endpoint(api.url), ITEMS), server=server, only=[kit.END])
    (wrong,) = find_wrong(verdicts)
    assert wrong.reason == (
        "the page behind the last one has 5 more records, which are never read; see `end` of its `paging`"
    )


pytest_plugins = ["etl.conform.pytest_plugin"]


def test_a_catalogue_tests_its_own_declaration_in_a_line(
    conform: Conform, recording: Path, verdicts: dict[str, Verdict]
) -> None:
    assert verdicts
    conform(MOVEMENTS, recording=recording, only=["login needed"])
    nobody_stops = replace(MOVEMENTS, provider=replace(BANK, errors=()))
    with pytest.raises(pytest.fail.Exception, match="movements, login needed: no error rule stops a login"):
        conform(nobody_stops, recording=recording, only=["login needed"])


@pytest.fixture(scope="module")
def conform_server(server: Endpoint) -> Endpoint:
    return server
