"""One Airflow Dag per declared notice, and the one that sends announcements."""

from etl.catalog.notices import NOTICES
from sluice_announce_dag import build_announce_dag
from sluice_entity_dags import should_build
from sluice_notice_dags import build_notice_dag, notice_dag_id

for notice in NOTICES:
    if should_build(notice_dag_id(notice)):
        build_notice_dag(notice)

# Always built: cheaper than to check whether it is needed.
build_announce_dag()
