"""Transactions of every bank account, pending and posted."""

from datetime import timedelta

from etl.catalog.providers.plaid import PLAID, TRANSACTIONS_GET, TRANSACTIONS_SYNC
from etl.catalog.queues import ETL
from etl.declare.check import ExactlyOne, Iso4217, MinorUnits, NotEmpty
from etl.declare.entity import Column, ColumnType, Entity

TRANSACTIONS = Entity(
    name="transactions",
    summary="Money that moved, or is about to, on a bank account. A positive amount left the account.",
    provider=PLAID,
    source=TRANSACTIONS_SYNC,
    window=TRANSACTIONS_GET,
    key=("provider_account_id", "transaction_id"),
    columns=(
        Column("account_id", ColumnType.TEXT, max_length=256),
        Column("transaction_id", ColumnType.TEXT, max_length=256),
        Column(
            "amount",
            ColumnType.MONEY,
            summary="Positive: money left the account. Negative: money came in. In major units of `currency`.",
        ),
        Column(
            "currency",
            ColumnType.TEXT,
            path="iso_currency_code",
            required=False,
            summary="ISO 4217 code; null where the money has none, such as a crypto-currency.",
        ),
        Column(
            "unofficial_currency",
            ColumnType.TEXT,
            path="unofficial_currency_code",
            required=False,
            summary="What the provider calls a currency without an ISO 4217 code.",
        ),
        Column("dated_on", ColumnType.DATE, path="date"),
        Column("dated_at", ColumnType.INSTANT, path="datetime", required=False),
        Column("authorized_on", ColumnType.DATE, path="authorized_date", required=False),
        Column("authorized_at", ColumnType.INSTANT, path="authorized_datetime", required=False),
        Column("pending", ColumnType.BOOLEAN),
        Column(
            "pending_transaction_id",
            ColumnType.TEXT,
            required=False,
            max_length=256,
            summary="Of a posted transaction: the pending transaction that it replaces.",
        ),
        Column("description", ColumnType.TEXT, path="name", required=False, max_length=2_000),
        Column("merchant_name", ColumnType.TEXT, required=False),
        Column("merchant_entity_id", ColumnType.TEXT, required=False, max_length=256),
        Column("payment_channel", ColumnType.TEXT, required=False),
        Column("category", ColumnType.TEXT, path="personal_finance_category.primary", required=False),
        Column("category_detail", ColumnType.TEXT, path="personal_finance_category.detailed", required=False),
    ),
    currencies=("currency", "unofficial_currency"),
    replaces="pending_transaction_id",
    checks=(
        NotEmpty("account_id"),
        NotEmpty("transaction_id"),
        Iso4217("currency", on="dated_on"),
        ExactlyOne(("currency", "unofficial_currency")),
        MinorUnits("amount", "currency"),
    ),
    queue=ETL,
    schedule="0 0 * * *",
    chunk_size=50,
    timeout=timedelta(hours=1),
    deadline=timedelta(hours=2),
    version=2,
    history=True,
)
