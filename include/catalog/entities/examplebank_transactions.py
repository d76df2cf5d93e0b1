"""Transactions of the accounts at Example bank."""

from datetime import timedelta

from catalog.providers.examplebank import EXAMPLEBANK
from etl.catalog.queues import ETL
from etl.declare.api.paging import PageNumberPaging, TotalPages
from etl.declare.api.request import Day, Placeholder
from etl.declare.api.value import Indicator
from etl.declare.check import Iso4217, MinorUnits, NotEmpty
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.provider import LimitScope, RateLimit
from etl.declare.source import Recent

EXAMPLEBANK_TRANSACTIONS = Entity(
    name="examplebank_transactions",
    summary="Transactions of the accounts at Example bank. A positive amount left the account.",
    provider=EXAMPLEBANK,
    source=Recent(
        name="examplebank_transactions_list",
        path="/accounts/{item_id}/transactions",
        query={"from": Day(Placeholder.FIRST_DAY, "%d.%m.%Y"), "page": Placeholder.PAGE_NUMBER},
        upserts=("data[]",),
        paging=PageNumberPaging(first=1, end=TotalPages("pages")),
        page_size=500,
        days=90,
        first_days=730,
        dated_by="dated_on",
        limits=(RateLimit(LimitScope.CLIENT, calls=600, per=timedelta(minutes=1), burst=10),),
    ),
    key=("provider_account_id", "transaction_id"),
    columns=(
        Column("transaction_id", ColumnType.TEXT, path="ref"),
        Column("account_id", ColumnType.TEXT, fill=Placeholder.ITEM_ID),
        Column("dated_on", ColumnType.DATE, path="booked", format="%d.%m.%Y"),
        Column("amount", ColumnType.MONEY, sign=Indicator("direction", debit=("DBIT",), credit=("CRDT",))),
        Column("currency", ColumnType.TEXT),
        Column("direction", ColumnType.TEXT, stored=False),
        Column("description", ColumnType.TEXT, path="text", required=False),
    ),
    currencies=("currency",),
    checks=(NotEmpty("transaction_id"), Iso4217("currency", on="dated_on"), MinorUnits("amount", "currency")),
    queue=ETL,
    schedule="0 3 * * *",
    deadline=timedelta(hours=2),
)
