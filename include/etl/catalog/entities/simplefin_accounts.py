"""Accounts at the banks of SimpleFIN logins, with their balances."""

from datetime import timedelta

from etl.catalog.providers.simplefin import ACCOUNTS_LIST, SIMPLEFIN
from etl.catalog.queues import ETL
from etl.declare.api.request import Epoch
from etl.declare.check import ExactlyOne, Iso4217, MinorUnits, NotEmpty
from etl.declare.entity import Column, ColumnType, Entity

SIMPLEFIN_ACCOUNTS = Entity(
    name="simplefin_accounts",
    summary="Accounts at all banks of a SimpleFIN login, each with its balance as of when its bank last sent it.",
    provider=SIMPLEFIN,
    source=ACCOUNTS_LIST,
    key=("provider_account_id", "connection_id", "account_id"),
    columns=(
        Column("connection_id", ColumnType.TEXT, path="conn_id", max_length=256),
        Column("connection_name", ColumnType.TEXT, path="conn_name", required=False),
        Column("account_id", ColumnType.TEXT, path="id", max_length=256),
        Column("name", ColumnType.TEXT, required=False),
        Column(
            "balance",
            ColumnType.MONEY,
            summary="What the account holds; negative if it is owed. In major units of `currency`.",
        ),
        Column(
            "balance_available",
            ColumnType.MONEY,
            path="available-balance",
            required=False,
            otherwise="balance",
            summary="What can be spent; servers leave it out where it is the same as the balance.",
        ),
        Column("currency", ColumnType.TEXT, matching="???", required=False),
        Column(
            "custom_currency",
            ColumnType.TEXT,
            path="currency",
            matching="http*://*",
            required=False,
            max_length=2_000,
            summary="URL of a currency that is no money, such as miles, where the account is in one.",
        ),
        Column("balance_as_of", ColumnType.INSTANT, path="balance-date", format=Epoch.SECONDS),
    ),
    currencies=("currency", "custom_currency"),
    checks=(
        NotEmpty("connection_id"),
        NotEmpty("account_id"),
        Iso4217("currency"),
        ExactlyOne(("currency", "custom_currency")),
        MinorUnits("balance", "currency"),
        MinorUnits("balance_available", "currency"),
    ),
    queue=ETL,
    schedule="17 4 * * *",
    chunk_size=200,
    deadline=timedelta(hours=2),
)
