"""Bank accounts of every provider account, with their balances."""

from datetime import timedelta

from etl.catalog.providers.plaid import ACCOUNTS_GET, PLAID
from etl.catalog.queues import ETL
from etl.declare.check import ExactlyOne, Iso4217, MinorUnits, NotEmpty
from etl.declare.entity import Column, ColumnType, Entity

ACCOUNTS = Entity(
    name="accounts",
    summary="Bank accounts, each with its balances as of when they were last read.",
    provider=PLAID,
    source=ACCOUNTS_GET,
    key=("provider_account_id", "account_id"),
    columns=(
        Column("account_id", ColumnType.TEXT, max_length=256),
        Column("name", ColumnType.TEXT, required=False),
        Column("official_name", ColumnType.TEXT, required=False),
        Column("mask", ColumnType.TEXT, required=False),
        Column("type", ColumnType.TEXT, required=False),
        Column("subtype", ColumnType.TEXT, required=False),
        Column(
            "balance_current",
            ColumnType.MONEY,
            path="balances.current",
            required=False,
            summary="What the account holds, or what is owed on a credit account, in major units of `currency`.",
        ),
        Column("balance_available", ColumnType.MONEY, path="balances.available", required=False),
        Column("balance_limit", ColumnType.MONEY, path="balances.limit", required=False),
        Column("currency", ColumnType.TEXT, path="balances.iso_currency_code", required=False),
        Column("unofficial_currency", ColumnType.TEXT, path="balances.unofficial_currency_code", required=False),
        Column(
            "balance_as_of",
            ColumnType.INSTANT,
            path="balances.last_updated_datetime",
            required=False,
            summary="As of when the institution says that the balances are; null where it does not say.",
        ),
        Column(
            "persistent_id",
            ColumnType.TEXT,
            path="persistent_account_id",
            required=False,
            max_length=256,
            summary="Id that stays when the login is linked again; only some institutions have one.",
        ),
    ),
    currencies=("currency", "unofficial_currency"),
    checks=(
        NotEmpty("account_id"),
        Iso4217("currency"),
        ExactlyOne(("currency", "unofficial_currency")),
        MinorUnits("balance_current", "currency"),
        MinorUnits("balance_available", "currency"),
        MinorUnits("balance_limit", "currency"),
    ),
    queue=ETL,
    schedule="0 0 * * *",
    chunk_size=200,
    timeout=timedelta(hours=1),
    deadline=timedelta(hours=2),
    version=2,
    history=True,
)
