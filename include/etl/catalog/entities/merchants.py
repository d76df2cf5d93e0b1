"""Merchants and other counterparties that transactions name."""

from datetime import timedelta

from etl.catalog.hooks.merchants import normalise_names
from etl.catalog.providers.plaid import PLAID
from etl.catalog.queues import ETL
from etl.declare.check import NotEmpty
from etl.declare.entity import After, Column, ColumnType, Entity, RawOf

MERCHANTS = Entity(
    name="merchants",
    summary="Counterparties named on transactions, by the provider's entity id; a name is an attribute and may change.",
    provider=PLAID,
    source=RawOf(
        "transactions",
        places={
            "transactions_sync": ("added[].counterparties[]", "modified[].counterparties[]"),
            "transactions_get": ("transactions[].counterparties[]",),
        },
        having="entity_id",
    ),
    key=("entity_id",),
    columns=(
        Column(
            "entity_id",
            ColumnType.TEXT,
            summary="The provider's id, which stays when the name changes.",
            max_length=256,
        ),
        Column("name", ColumnType.TEXT),
        Column("type", ColumnType.TEXT, required=False),
        Column("website", ColumnType.TEXT, required=False, max_length=2_000),
        Column(
            "category",
            ColumnType.TEXT,
            path="../personal_finance_category.primary",
            required=False,
            summary="Category of the transaction that last named it.",
        ),
        Column(
            "named_on",
            ColumnType.DATE,
            path="../date",
            required=False,
            summary="Date of the transaction that last named it.",
        ),
    ),
    newest_by="named_on",
    checks=(
        NotEmpty("entity_id"),
        NotEmpty("name"),
    ),
    hook=normalise_names,
    queue=ETL,
    schedule=After("transactions"),
    chunk_size=8,
    timeout=timedelta(hours=1),
    deadline=timedelta(hours=1),
    version=2,
)
