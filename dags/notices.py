"""One Airflow Dag per declared notice, and the one that sends announcements."""

from sluice_declared_dags import build_notice_dags

build_notice_dags()
