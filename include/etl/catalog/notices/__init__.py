"""The notices that are sent: every folder here is one, with its declaration, `notice.py`, and its templates.

Its statements are in the file of the same name in `include/sql/notices/`. `FAULTS` lists the declarations that are
wrong; the other notices run without them.
"""

from etl.declare.discovery import discover_notices

NOTICES, FAULTS = discover_notices(__name__, __path__)
