"""Entities that are synced: those of the catalogue in use; each file here declares one of the shipped catalogue.

`FAULTS` lists the declarations that are wrong; the other entities run without them.
"""

from etl.declare.discovery import discover_entities

ENTITIES, FAULTS = discover_entities()
