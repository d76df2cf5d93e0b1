"""Notices that are sent: each folder here declares one, with `notice.py` and its templates.

Its SQL file has the same name, in `include/sql/notices/`. `FAULTS` lists the declarations that are wrong; the other
notices run without them.
"""

from etl.declare.discovery import discover_notices

NOTICES, FAULTS = discover_notices(__name__, __path__)
