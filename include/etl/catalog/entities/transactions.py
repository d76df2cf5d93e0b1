"""Transactions of every account, pending and posted."""

from datetime import timedelta

from etl.catalog.providers.plaid import PLAID, TRANSACTIONS_GET, TRANSACTIONS_SYNC
from etl.catalog.queues import ETL
from etl.declare.check import ExactlyOne, Iso4217, MaxLength, MinorUnits, NotEmpty
from etl.declare.entity import Column, Entity, Kind

TRANSACTIONS = Entity(
    name="transactions",
    summary="Money that moved, or is about to, on a bank account. A positive amount left the account.",
    provider=PLAID,
    source=TRANSACTIONS_SYNC,
    window=TRANSACTIONS_GET,
    key=("provider_account_id", "account_id", "transaction_id"),
    columns=(
        Column("account_id", Kind.TEXT),
        Column("transaction_id", Kind.TEXT),
        Column("amount", Kind.MONEY),
        Column("currency", Kind.TEXT, path="iso_currency_code", required=False),
        Column("unofficial_currency", Kind.TEXT, path="unofficial_currency_code", required=False),
        Column("dated_on", Kind.DATE, path="date"),
        Column("dated_at", Kind.INSTANT, path="datetime", required=False),
        Column("authorized_on", Kind.DATE, path="authorized_date", required=False),
        Column("authorized_at", Kind.INSTANT, path="authorized_datetime", required=False),
        Column("pending", Kind.BOOLEAN),
        Column("pending_transaction_id", Kind.TEXT, required=False),
        Column("description", Kind.TEXT, path="name"),
        Column("merchant_name", Kind.TEXT, required=False),
        Column("merchant_entity_id", Kind.TEXT, required=False),
        Column("payment_channel", Kind.TEXT),
        Column("category", Kind.TEXT, path="personal_finance_category.primary", required=False),
        Column("category_detail", Kind.TEXT, path="personal_finance_category.detailed", required=False),
    ),
    currencies=("currency", "unofficial_currency"),
    checks=(
        NotEmpty("account_id"),
        NotEmpty("transaction_id"),
        Iso4217("currency"),
        ExactlyOne(("currency", "unofficial_currency")),
        MinorUnits("amount", "currency"),
        MaxLength("account_id", 256),
        MaxLength("transaction_id", 256),
        MaxLength("pending_transaction_id", 256),
        MaxLength("merchant_entity_id", 256),
        MaxLength("description", 2_000),
    ),
    queue=ETL,
    schedule="0 0 * * *",
    chunk_size=50,
    timeout=timedelta(hours=1),
    deadline=timedelta(hours=2),
)
