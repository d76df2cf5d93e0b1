"""Cleans Airflow's metadata database by `airflow db clean`.

A task has no access to the metadata database: Airflow overwrites the variable that names it in the task's process. So
the command runs in a process of its own, on the database that the Airflow connection `metadata` names. By adding that
connection, the operator grants the task this access.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

from etl.declare.retention import Retention
from etl.errors import SettingMissing, TransientError
from etl.maintenance.removed import PurgeResult

log = logging.getLogger(__name__)

CONNECTION_ID = "metadata"
AUDIT_LOG_TABLE = "log"
CLEANED_TABLES = (
    "_xcom_archive",
    "asset_event",
    "callback",
    "celery_taskmeta",
    "celery_tasksetmeta",
    "connection_test_request",
    "dag",
    "dag_run",
    "dag_version",
    "deadline",
    "import_error",
    "job",
    "partitioned_asset_key_log",
    "revoked_token",
    "task_instance",
    "task_instance_history",
    "task_reschedule",
    "task_state_store",
    "trigger",
    "xcom",
)
"""All tables that `airflow db clean` can clean, except the audit log. It keeps the last scheduled run of each Dag."""
BATCH_SIZE = 10_000
"""Rows removed per transaction; a killed command may leave a table `_airflow_deleted__…` with so many rows."""

_FOUND_ROWS = re.compile(r"^Found (\d+) rows meeting deletion criteria", re.MULTILINE)
_OVERWRITTEN_VARIABLE = "AIRFLOW__CORE__SQL_ALCHEMY_CONN"
_DATABASE_VARIABLES = ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC")
_CONTEXT_VARIABLE = "_AIRFLOW_PROCESS_CONTEXT"
_MAX_OUTPUT_SHOWN = 2_000


class MetadataCleanupFailed(TransientError):
    """`airflow db clean` failed."""

    def __init__(self, code: int, output: str) -> None:
        super().__init__(f"airflow db clean exited with {code}; the next run cleans what is left: …{output}")


def clean_metadata(retention: Retention, *, as_of: datetime, dry_run: bool) -> list[PurgeResult]:
    """Remove rows of Airflow's metadata that are past their retention.

    Raises
    ------
    SettingMissing
        If there is no Airflow connection to the metadata database.
    MetadataCleanupFailed
        If a table could not be cleaned.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in (_OVERWRITTEN_VARIABLE, _CONTEXT_VARIABLE)
    }
    environment |= dict.fromkeys(_DATABASE_VARIABLES, _database_url())
    rows = _run_db_clean(CLEANED_TABLES, as_of - retention.metadata, environment=environment, dry_run=dry_run)
    entries = _run_db_clean((AUDIT_LOG_TABLE,), as_of - retention.audit_log, environment=environment, dry_run=dry_run)
    return [PurgeResult("rows of Airflow's metadata", rows), PurgeResult("entries of Airflow's audit log", entries)]


def db_clean_arguments(tables: Sequence[str], before: datetime, *, dry_run: bool) -> Iterator[str]:
    """Yield the arguments with which `airflow` cleans the tables."""
    yield from ("db", "clean", "--tables", ",".join(tables), "--clean-before-timestamp", before.isoformat())
    yield from ("--batch-size", str(BATCH_SIZE), "--skip-archive", "--error-on-cleanup-failure", "--yes")
    if dry_run:
        yield "--dry-run"


def _run_db_clean(tables: Sequence[str], before: datetime, *, environment: Mapping[str, str], dry_run: bool) -> int:
    done = subprocess.run(  # noqa: S603 - Airflow's own command
        [sys.executable, "-P", "-m", "airflow", *db_clean_arguments(tables, before, dry_run=dry_run)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MetadataCleanupFailed(done.returncode, done.stdout[-_MAX_OUTPUT_SHOWN:])
    rows = sum(map(int, _FOUND_ROWS.findall(done.stdout)))
    log.info("%d rows of %s from before %s; dry run: %s", rows, ", ".join(tables), before, dry_run)
    return rows


def _database_url() -> str:
    """Return the URL of the metadata database, for psycopg 3."""
    try:
        uri = BaseHook.get_connection(CONNECTION_ID).get_uri()
    except (AirflowNotFoundException, AirflowRuntimeError):
        raise SettingMissing(
            f"AIRFLOW_CONN_{CONNECTION_ID.upper()}",
            "Airflow's own database, as an Airflow connection that may clean it",
        ) from None
    return f"postgresql+psycopg{uri[uri.index('://') :]}"
