from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.catalog.retention import RETENTION
from etl.errors import SettingMissing


def test_the_report_follows_all_steps_and_a_failed_step_fails_the_run(bag: Any) -> None:
    dag = bag.dags["maintenance"]
    steps = {task.task_id for task in dag.tasks} - {"report", "all_done"}
    assert dag.get_task("report").trigger_rule == "all_done"
    assert dag.get_task("report").upstream_task_ids == steps
    assert dag.get_task("all_done").trigger_rule == "all_success"
    assert dag.get_task("all_done").upstream_task_ids == steps


def test_a_dry_run_is_a_param_and_unknown_params_are_ignored(bag: Any) -> None:
    params = bag.dags["maintenance"].params
    assert params["dry_run"] is False
    params.update({"dry_run": True, "of_an_older_release": [1]})
    assert params.validate()["dry_run"] is True


def test_every_table_that_airflow_can_clean_is_cleaned_and_the_audit_log_is_kept_longer(bag: Any) -> None:
    from airflow.utils.db_cleanup import config_dict

    import sluice_metadata_cleanup

    assert {*sluice_metadata_cleanup.CLEANED_TABLES, sluice_metadata_cleanup.AUDIT_LOG_TABLE} == set(config_dict)
    assert RETENTION.audit_log > RETENTION.metadata


def test_the_arguments_are_those_of_airflow_db_clean(bag: Any) -> None:
    from airflow.cli.cli_parser import get_parser

    import sluice_metadata_cleanup

    before = datetime(2026, 1, 1, tzinfo=UTC)
    parsed = get_parser().parse_args(
        list(sluice_metadata_cleanup.db_clean_arguments(("dag_run", "xcom"), before, dry_run=True))
    )
    assert parsed.tables == ["dag_run", "xcom"]
    assert parsed.clean_before_timestamp - before == timedelta()
    assert (parsed.dry_run, parsed.yes, parsed.skip_archive, parsed.batch_size) == (
        True,
        True,
        True,
        10_000,
    )
    assert parsed.error_on_cleanup_failure


def test_a_missing_connection_to_airflows_database_is_named(bag: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sluice_metadata_cleanup

    monkeypatch.delenv("AIRFLOW_CONN_METADATA", raising=False)
    with pytest.raises(SettingMissing, match="AIRFLOW_CONN_METADATA is not set; it must hold Airflow's own database"):
        sluice_metadata_cleanup.clean_metadata(RETENTION, as_of=datetime.now(UTC), dry_run=True)
