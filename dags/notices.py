"""One Airflow Dag per declared notice, and the one that sends what is announced."""

from etl.catalog.notices import NOTICES
from sluice_announce_dag import urgent_dag
from sluice_entity_dags import is_wanted
from sluice_notice_dags import notice_dag, notice_dag_id

for notice in NOTICES:
    if is_wanted(notice_dag_id(notice)):
        notice_dag(notice)

# One more, whichever is wanted: it takes less than to ask.
urgent_dag()
