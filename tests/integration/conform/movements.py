"""A provider with a list of recent days in place of a feed, and its server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from etl.catalog.queues import ETL
from etl.declare.api.auth import TokenHeader
from etl.declare.api.paging import PageNumberPaging, Total
from etl.declare.api.quota import Quota
from etl.declare.api.request import Placeholder
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.provider import ErrorAction, ErrorRule, Provider
from etl.declare.source import Recent
from etl.sync.provider.enrolment import GrantedItem
from tests.api_server import Received, Reply

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
    quota=Quota(calls=24, per=timedelta(days=1)),
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
