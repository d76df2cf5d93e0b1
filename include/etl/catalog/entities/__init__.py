"""Entities that are synced: each file here declares one.

`FAULTS` lists the declarations that are wrong; the other entities run without them.
"""

from etl.declare.discovery import discover_entities

ENTITIES, FAULTS = discover_entities(__name__, __path__)
