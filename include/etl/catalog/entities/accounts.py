"""Bank accounts of every login, with what they hold."""

from datetime import timedelta

from etl.catalog.providers.plaid import ACCOUNTS_GET, PLAID
from etl.catalog.queues import ETL
from etl.declare.check import Iso4217, MaxLength, NotEmpty
from etl.declare.entity import Column, Entity, Kind

ACCOUNTS = Entity(
    name="accounts",
    summary="Bank accounts, each with its balances as of when they were last read.",
    provider=PLAID,
    source=ACCOUNTS_GET,
    key=("provider_account_id", "account_id"),
    columns=(
        Column("account_id", Kind.TEXT),
        Column("name", Kind.TEXT),
        Column("official_name", Kind.TEXT, required=False),
        Column("mask", Kind.TEXT, required=False),
        Column("type", Kind.TEXT),
        Column("subtype", Kind.TEXT, required=False),
        Column("balance_current", Kind.MONEY, path="balances.current", required=False),
        Column("balance_available", Kind.MONEY, path="balances.available", required=False),
        Column("balance_limit", Kind.MONEY, path="balances.limit", required=False),
        Column("currency", Kind.TEXT, path="balances.iso_currency_code", required=False),
        Column("unofficial_currency", Kind.TEXT, path="balances.unofficial_currency_code", required=False),
    ),
    currencies=("currency", "unofficial_currency"),
    checks=(
        NotEmpty("account_id"),
        MaxLength("account_id", 256),
        Iso4217("currency"),
    ),
    queue=ETL,
    schedule="0 0 * * *",
    chunk_size=200,
    timeout=timedelta(hours=1),
    deadline=timedelta(hours=2),
)
