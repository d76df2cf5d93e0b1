"""Transactions of the accounts at GoCardless, booked and pending."""

from datetime import timedelta

from etl.catalog.providers.gocardless import ACCOUNT_TRANSACTIONS, GOCARDLESS
from etl.catalog.queues import ETL
from etl.declare.api.derived import Settlement
from etl.declare.api.value import ByList, Identity, Negated
from etl.declare.check import Iso4217, MinorUnits, NotEmpty
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.provider import Placeholder

GOCARDLESS_TRANSACTIONS = Entity(
    name="gocardless_transactions",
    summary="Money that moved, or is about to, on an account at GoCardless. A positive amount left the account.",
    provider=GOCARDLESS,
    source=ACCOUNT_TRANSACTIONS,
    key=("provider_account_id", "transaction_id"),
    columns=(
        Column(
            "transaction_id",
            ColumnType.TEXT,
            path="transactionId",
            max_length=256,
            otherwise="internal_id",
            identity=Identity(
                "dated_on", "amount", "currency", "pending", "description", "creditor_name", "debtor_name"
            ),
            summary="Of the bank, else of GoCardless; made of other columns where neither has one.",
        ),
        Column(
            "internal_id",
            ColumnType.TEXT,
            path="internalTransactionId",
            required=False,
            max_length=256,
            stored=False,
        ),
        Column("account_id", ColumnType.TEXT, fill=Placeholder.ITEM_ID),
        Column("dated_on", ColumnType.DATE, path="bookingDate", otherwise="valued_on"),
        Column("booked_at", ColumnType.INSTANT, path="bookingDateTime", required=False),
        Column("valued_on", ColumnType.DATE, path="valueDate", required=False),
        Column("amount", ColumnType.MONEY, path="transactionAmount.amount", sign=Negated()),
        Column("currency", ColumnType.TEXT, path="transactionAmount.currency"),
        Column(
            "pending",
            ColumnType.BOOLEAN,
            fill=ByList({"transactions.booked[]": False, "transactions.pending[]": True}),
        ),
        Column(
            "description",
            ColumnType.TEXT,
            path="remittanceInformationUnstructured",
            required=False,
            max_length=2_000,
        ),
        Column("creditor_name", ColumnType.TEXT, path="creditorName", required=False),
        Column("debtor_name", ColumnType.TEXT, path="debtorName", required=False),
        Column("transaction_code", ColumnType.TEXT, path="proprietaryBankTransactionCode", required=False),
    ),
    currencies=("currency",),
    checks=(NotEmpty("transaction_id"), Iso4217("currency", on="dated_on"), MinorUnits("amount", "currency")),
    settlement=Settlement(),
    queue=ETL,
    schedule="0 4 * * *",
    chunk_size=200,
    deadline=timedelta(hours=2),
)
