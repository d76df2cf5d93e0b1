"""One Airflow Dag per declared notice, and the one that sends what is announced."""

from etl.catalog.notices import NOTICES
from sluice_announce_dag import build_announce_dag
from sluice_entity_dags import should_build
from sluice_notice_dags import build_notice_dag, notice_dag_id

for notice in NOTICES:
    if should_build(notice_dag_id(notice)):
        build_notice_dag(notice)

# One more, whichever is wanted: it takes less than to ask.
build_announce_dag()
