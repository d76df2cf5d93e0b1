"""Airflow's own records, cleaned by its own command.

A task of Airflow has no access to the metadata database: its process is given none, and the variable that names the
database is overwritten. So the command is a process of its own, and the Airflow connection `metadata` says which
database it cleans; that a task may do so is for the operator to grant.
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
"""All tables that `airflow db clean` knows, but for the audit log. The last scheduled run of each Dag stays."""
BATCH_SIZE = 10_000
"""Rows that are removed in one transaction; killed in it, the command leaves a table `_airflow_deleted__…` of them."""

_FOUND_ROWS = re.compile(r"^Found (\d+) rows meeting deletion criteria", re.MULTILINE)
_OVERWRITTEN_VARIABLE = "AIRFLOW__CORE__SQL_ALCHEMY_CONN"
_DATABASE_VARIABLES = ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC")
_CONTEXT_VARIABLE = "_AIRFLOW_PROCESS_CONTEXT"
_MAX_OUTPUT_SHOWN = 2_000


class MetadataCleanupFailed(TransientError):
    """`airflow db clean` did not clean everything."""

    def __init__(self, code: int, output: str) -> None:
        super().__init__(f"airflow db clean ended with {code}; what is left is cleaned the next time: …{output}")


def clean_metadata(retention: Retention, *, as_of: datetime, dry_run: bool) -> list[PurgeResult]:
    """Remove Airflow's records that are past their retention.

    Raises
    ------
    SettingMissing
        If no connection names the metadata database.
    CleaningFailed
        If a table could not be cleaned.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in (_OVERWRITTEN_VARIABLE, _CONTEXT_VARIABLE)
    }
    environment |= dict.fromkeys(_DATABASE_VARIABLES, _database_url())
    records = _run_db_clean(CLEANED_TABLES, as_of - retention.metadata, environment=environment, dry_run=dry_run)
    audit_log = _run_db_clean((AUDIT_LOG_TABLE,), as_of - retention.audit_log, environment=environment, dry_run=dry_run)
    return [PurgeResult("of Airflow's records", records), PurgeResult("entries of its audit log", audit_log)]


def db_clean_arguments(tables: Sequence[str], before: datetime, *, dry_run: bool) -> Iterator[str]:
    """Yield the arguments of `airflow` that clean some tables."""
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
    found = sum(map(int, _FOUND_ROWS.findall(done.stdout)))
    log.info("%d rows of %s from before %s; dry run: %s", found, ", ".join(tables), before, dry_run)
    return found


def _database_url() -> str:
    """Return the URL of the metadata database, for psycopg 3."""
    try:
        uri = BaseHook.get_connection(CONNECTION_ID).get_uri()
    except (AirflowNotFoundException, AirflowRuntimeError):
        raise SettingMissing(
            f"AIRFLOW_CONN_{CONNECTION_ID.upper()}",
            "Airflow's own database, as the Airflow connection by which to clean it",
        ) from None
    return f"postgresql+psycopg{uri[uri.index('://') :]}"
