"""One Airflow Dag per declared notice, and the one that sends what is announced."""

from etl.catalog.notices import NOTICES
from sluice_dags import is_wanted
from sluice_notices import notice_dag, notice_dag_id
from sluice_urgent import urgent_dag

for notice in NOTICES:
    if is_wanted(notice_dag_id(notice)):
        notice_dag(notice)

# One more, whichever is wanted: it takes less than to ask.
urgent_dag()
