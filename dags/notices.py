"""One Airflow Dag per declared notice."""

from etl.catalog.notices import NOTICES
from sluice_notices import notice_dag

for notice in NOTICES:
    notice_dag(notice)
