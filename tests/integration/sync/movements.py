"""A provider without a feed, which lists the movements of an account, and a bank that serves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from etl.catalog.queues import ETL
from etl.declare.api.auth import TokenHeader
from etl.declare.api.derived import Settlement
from etl.declare.api.paging import PageNumberPaging, Total
from etl.declare.api.request import Placeholder
from etl.declare.api.value import ByList, Identity, Negated
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.provider import Consent, ErrorAction, ErrorRule, Provider
from etl.declare.source import Recent
from etl.sync.logins.store import provider_accounts
from tests.api_server import Received, Reply
from tests.integration.sync.pipeline import Pipeline

Rows = Callable[..., list[tuple[Any, ...]]]
LIVE = "select movement_id from core.movements where removed_at is null order by 1"
ENDED = "select movement_id, removed_for, posted_as from core.movements where removed_at is not null order by 1"
TODAY = datetime.now(UTC).date()

BANK = Provider(
    name="bank",
    connection="bank",
    auth=TokenHeader(),
    retries=0,
    errors=(ErrorRule(ErrorAction.STOP_ACCOUNT, code="EXPIRED"),),
    consent=Consent(lifetime=timedelta(days=90)),
)
SOURCE = Recent(
    name="movements_list",
    path="/accounts/{item_id}/movements",
    query={"from": Placeholder.FIRST_DAY, "to": Placeholder.LAST_DAY, "page": Placeholder.PAGE_NUMBER},
    upserts=("data.booked[]", "data.pending[]"),
    paging=PageNumberPaging(end=Total("total")),
    page_size=100,
    days=30,
    first_days=60,
    dated_by="dated_on",
    pending="pending",
)
MOVEMENTS = Entity(
    name="movements",
    summary="Movements of a bank without a feed.",
    provider=BANK,
    source=SOURCE,
    key=("provider_account_id", "movement_id"),
    columns=(
        Column("movement_id", ColumnType.TEXT, path="id", identity=Identity("dated_on", "amount", "note", "pending")),
        Column("account_id", ColumnType.TEXT, fill=Placeholder.ITEM_ID),
        Column("dated_on", ColumnType.DATE, path="date", format="%d.%m.%Y"),
        Column("amount", ColumnType.MONEY, sign=Negated()),
        Column("currency", ColumnType.TEXT),
        Column("note", ColumnType.TEXT, required=False),
        Column("pending", ColumnType.BOOLEAN, fill=ByList({"data.booked[]": False, "data.pending[]": True})),
    ),
    currencies=("currency",),
    settlement=Settlement(),
    queue=ETL,
    schedule="0 0 * * *",
)

WITH_IDS = replace(MOVEMENTS, columns=tuple(replace(column, identity=None) for column in MOVEMENTS.columns))
"""The same of a bank whose movements always have an id."""


@dataclass
class Bank:
    """A bank of one account with lists of movements; a page has `size` of them."""

    booked: list[dict[str, Any]] = field(default_factory=list)
    pending: list[dict[str, Any]] = field(default_factory=list)
    size: int = 100
    failure: Reply | None = None
    refuses_empty_pages: bool = False

    def respond(self, request: Received) -> Reply:
        """Return a page."""
        if self.failure is not None:
            return self.failure
        everything = [*((True, each) for each in self.booked), *((False, each) for each in self.pending)]
        start = (int(request.query["page"]) - 1) * self.size
        page = everything[start : start + self.size]
        if self.refuses_empty_pages and not page:
            return Reply({}, 404)
        lists = {
            "booked": [each for is_booked, each in page if is_booked],
            "pending": [each for is_booked, each in page if not is_booked],
        }
        return Reply({"data": lists, "total": len(everything)})


def movement(name: str | None, amount: str = "-5.00", *, days_ago: int = 3, **changes: object) -> dict[str, Any]:
    dated_on = TODAY - timedelta(days=days_ago)
    record = {"date": dated_on.strftime("%d.%m.%Y"), "amount": amount, "currency": "EUR", **changes}
    return record if name is None else {"id": name, **record}


def enrol(pipeline: Pipeline, item_id: str) -> int:
    return provider_accounts.enrol(
        pipeline.db, pipeline.cipher, provider="bank", user="u", item_id=item_id, access_token="t"
    )
