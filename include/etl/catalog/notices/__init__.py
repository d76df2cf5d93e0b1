"""Notices that are sent: those of the catalogue in use.

Each folder here declares one of the shipped catalogue, with `notice.py` and its templates; its SQL file has the same
name, in `include/sql/notices/`. `FAULTS` lists the declarations that are wrong; the other notices run without them.
"""

from etl.declare.discovery import discover_notices

NOTICES, FAULTS = discover_notices()
