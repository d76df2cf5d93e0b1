"""The entities that are synced: every file here declares one, and has one of the same name in `include/sql/entities/`.

`FAULTS` tells of the declarations that are wrong; the entities of the others go on without them.
"""

from etl.declare.discovery import discover_entities

ENTITIES, FAULTS = discover_entities(__name__, __path__)
