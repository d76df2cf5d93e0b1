"""The entities that are synced; each has a file here and one of the same name in `include/sql/entities/`."""

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.catalogue import catalogue

ENTITIES = catalogue(ACCOUNTS, TRANSACTIONS, MERCHANTS)
