"""Bank accounts at GoCardless, each of which is a login."""

from datetime import timedelta

from etl.catalog.providers.gocardless import ACCOUNT_DETAILS, GOCARDLESS
from etl.catalog.queues import ETL
from etl.declare.check import Iso4217
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.provider import Placeholder

GOCARDLESS_ACCOUNTS = Entity(
    name="gocardless_accounts",
    summary="Bank accounts that users connected through GoCardless, as their banks describe them.",
    provider=GOCARDLESS,
    source=ACCOUNT_DETAILS,
    key=("provider_account_id", "account_id"),
    columns=(
        Column("account_id", ColumnType.TEXT, fill=Placeholder.ITEM_ID),
        Column("iban", ColumnType.TEXT, required=False),
        Column("masked_pan", ColumnType.TEXT, path="maskedPan", required=False, summary="Number of a card, in part."),
        Column("currency", ColumnType.TEXT, required=False),
        Column("owner_name", ColumnType.TEXT, path="ownerName", required=False),
        Column("name", ColumnType.TEXT, required=False),
        Column("product", ColumnType.TEXT, required=False),
        Column(
            "cash_account_type",
            ColumnType.TEXT,
            path="cashAccountType",
            required=False,
            summary="ISO 20022, such as CACC for a current account and SVGS for savings.",
        ),
        Column("status", ColumnType.TEXT, required=False),
    ),
    currencies=("currency",),
    checks=(Iso4217("currency"),),
    queue=ETL,
    schedule="0 4 * * *",
    chunk_size=200,
    deadline=timedelta(hours=2),
)
