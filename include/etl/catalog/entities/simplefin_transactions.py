"""Transactions of the accounts at the banks of SimpleFIN logins, pending and posted."""

from datetime import timedelta

from etl.catalog.providers.simplefin import SIMPLEFIN, TRANSACTIONS_LIST
from etl.catalog.queues import ETL
from etl.declare.api.derived import Settlement
from etl.declare.api.request import Epoch
from etl.declare.api.value import Negated
from etl.declare.check import ExactlyOne, Iso4217, MinorUnits, NotEmpty
from etl.declare.entity import Column, ColumnType, Entity

SIMPLEFIN_TRANSACTIONS = Entity(
    name="simplefin_transactions",
    summary="Money that moved, or is about to, at the banks of a SimpleFIN login. A positive amount left the account.",
    provider=SIMPLEFIN,
    source=TRANSACTIONS_LIST,
    # An id is unique within its account, and that of an account within its connection.
    key=("provider_account_id", "connection_id", "account_id", "transaction_id"),
    columns=(
        Column("connection_id", ColumnType.TEXT, path="../conn_id", max_length=256),
        Column("account_id", ColumnType.TEXT, path="../id", max_length=256),
        Column("transaction_id", ColumnType.TEXT, path="id", max_length=256),
        Column(
            "amount",
            ColumnType.MONEY,
            sign=Negated(),
            summary="Positive: money left the account. Negative: money came in. In major units of `currency`.",
        ),
        Column("currency", ColumnType.TEXT, path="../currency", matching="???", required=False),
        Column(
            "custom_currency",
            ColumnType.TEXT,
            path="../currency",
            matching="http*://*",
            required=False,
            max_length=2_000,
            summary="URL of a currency that is no money, such as miles, where the account is in one.",
        ),
        Column(
            "dated_on",
            ColumnType.DATE,
            path="posted",
            format=Epoch.SECONDS,
            null_values=(0,),
            otherwise="transacted_on",
            summary="Day of the posting; of a pending transaction, the day on which it was made.",
        ),
        Column("posted_at", ColumnType.INSTANT, path="posted", format=Epoch.SECONDS, null_values=(0,), required=False),
        Column("transacted_at", ColumnType.INSTANT, format=Epoch.SECONDS, null_values=(0,), required=False),
        Column(
            "transacted_on",
            ColumnType.DATE,
            path="transacted_at",
            format=Epoch.SECONDS,
            null_values=(0,),
            required=False,
            stored=False,
        ),
        Column("pending", ColumnType.BOOLEAN, default=False),
        Column("description", ColumnType.TEXT, required=False, max_length=2_000),
        Column("payee", ColumnType.TEXT, null_values=("",), required=False),
        Column("memo", ColumnType.TEXT, null_values=("",), required=False, max_length=2_000),
    ),
    currencies=("currency", "custom_currency"),
    checks=(
        NotEmpty("connection_id"),
        NotEmpty("account_id"),
        NotEmpty("transaction_id"),
        Iso4217("currency", on="dated_on"),
        ExactlyOne(("currency", "custom_currency")),
        MinorUnits("amount", "currency"),
    ),
    settlement=Settlement(),
    queue=ETL,
    schedule="37 4 * * *",
    chunk_size=50,
    deadline=timedelta(hours=2),
)
