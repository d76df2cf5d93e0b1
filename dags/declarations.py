"""Tells of the declarations that are wrong, by an import error.

To Airflow an import error belongs to a file, and none of its Dags is scheduled. So this file has no Dags: those of the
entities that are declared well, in `entities.py`, go on.
"""

from etl.catalog.entities import FAULTS
from etl.errors import DeclarationError

if FAULTS:
    raise DeclarationError("\n- ".join(("each of these has no Dag until it is mended:", *map(str, FAULTS))))
