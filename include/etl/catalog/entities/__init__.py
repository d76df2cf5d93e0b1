"""The entities that are synced; each has a file here and one of the same name in `include/sql/entities/`."""

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.entity import Entity

ENTITIES: tuple[Entity, ...] = (TRANSACTIONS,)
