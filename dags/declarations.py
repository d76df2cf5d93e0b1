"""Reports wrong declarations as an import error of this file.

Airflow schedules no Dag of a file that has an import error. This file has no Dags, so those of all correct declarations
keep running.
"""

from etl.catalog import entities, notices
from etl.errors import DeclarationError

FAULTS = (*entities.FAULTS, *notices.FAULTS)

if FAULTS:
    raise DeclarationError("\n- ".join(("these have no Dag until they are fixed:", *map(str, FAULTS))))
