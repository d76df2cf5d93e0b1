"""Entities that are synced: each file here declares one, with an SQL file of the same name in `include/sql/entities/`.

`FAULTS` lists the declarations that are wrong; the other entities run without them.
"""

from etl.declare.discovery import discover_entities

ENTITIES, FAULTS = discover_entities(__name__, __path__)
