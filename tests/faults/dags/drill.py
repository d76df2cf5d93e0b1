"""The Airflow Dag of the drill: the monthly report's, slower and in smaller chunks, to leave time for the kills."""

from dataclasses import replace

from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from sluice_notice_dags import build_notice_dag

build_notice_dag(replace(MONTHLY_REPORT, pace=100, chunk_size=500, schedule=None, deadline=None))
