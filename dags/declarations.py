"""Tells of the declarations that are wrong, by an import error.

To Airflow an import error belongs to a file, and none of its Dags is scheduled. So this file has no Dags: those of what
is declared well go on.
"""

from etl.catalog import entities, notices
from etl.errors import DeclarationError

FAULTS = (*entities.FAULTS, *notices.FAULTS)

if FAULTS:
    raise DeclarationError("\n- ".join(("each of these has no Dag until it is mended:", *map(str, FAULTS))))
