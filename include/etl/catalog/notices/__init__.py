"""The notices that are sent: every file here declares one.

It has a file of the same name in `include/sql/notices/`, and a folder of templates in `include/notices/`. `FAULTS`
tells of the declarations that are wrong; the notices of the others go on without them.
"""

from etl.declare.discovery import discover_notices

NOTICES, FAULTS = discover_notices(__name__, __path__)
