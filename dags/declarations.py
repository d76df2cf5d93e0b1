"""Reports wrong declarations as an import error of this file.

Airflow schedules no Dag of a file that has an import error. This file has no Dags, so those of all correct declarations
keep running.
"""

from etl.errors import DeclarationError
from sluice_declared_dags import find_faults

if faults := find_faults():
    raise DeclarationError("\n- ".join(("wrong declarations, which stop no others:", *map(str, faults))))
