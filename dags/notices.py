"""One Airflow Dag per declared notice, and the one that sends what is announced."""

from etl.catalog.notices import NOTICES
from sluice_notices import notice_dag
from sluice_urgent import urgent_dag

for notice in NOTICES:
    notice_dag(notice)

urgent_dag()
