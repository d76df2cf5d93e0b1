"""The Dag that removes data past its retention; the body of each task is an import and a call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, TriggerRule, get_current_context

import sluice_connections as connections
from sluice_dag import SluiceDag
from sluice_entity_dags import START_DATE
from sluice_reschedule import task
from sluice_retry_policy import ErrorTypeRetryPolicy

if TYPE_CHECKING:
    from etl.maintenance.removed import PurgeResult

log = logging.getLogger(__name__)

SCHEDULE = "30 3 * * *"
"""Every night in UTC, after the daily runs."""

_DOC = """Removes data past its retention, as `retention.py` of the catalogue declares, and reports what it removed.

* `purge_raw`: raw batches that every entity which reads them has loaded. Their rows in `etl.raw_batches` stay, since
  rows of the core tables refer to them, and record when the batch was purged.
* `purge_orphans`: objects to which no row refers.
* `purge_typed`: typed batches that are loaded. `purge_unfinished`: landing pages that were never sealed, and drafts.
* `purge_rows`: rejects of loaded batches, replays, skipped accounts, chunks, field warnings.
* `purge_deliveries`: deliveries and chunks of notice runs; the runs stay, so that no period is sent twice. It also ends
  the addresses that bounced enough, and removes old bounces.
* `clean_metadata`: rows of Airflow's metadata, by `airflow db clean`; needs the Airflow connection `metadata`.
* `analyze`: statistics of whole partitioned tables that have changed; autovacuum does the rest.

No table is partitioned by time, so no partitions need to be created in advance.

With the param `dry_run` it only reports what it would remove. Every task can be run again, and continues where it was
interrupted. Only one runs at a time, including those that `sluice purge` starts.
"""


def build_maintenance_dag() -> DAG:
    """Return the Dag. Its steps need no dependencies: their pool has one slot, and their weights give the order."""
    from airflow.providers.standard.operators.empty import EmptyOperator

    with SluiceDag(
        dag_id="maintenance",
        description="Removes data past its retention.",
        schedule=CronDataIntervalTimetable(SCHEDULE, timezone="UTC"),
        start_date=START_DATE,
        catchup=False,
        max_active_runs=1,
        params={"dry_run": Param(False, type="boolean", description="Report what would be removed; remove nothing.")},  # noqa: FBT003 - a value
        tags=["maintenance", "no-deadline"],
        doc_md=_DOC,
        default_args=_default_args(),
    ) as dag:
        steps = [_task(purge, weight)() for purge, weight in zip(_PURGES, range(9, 2, -1), strict=True)]
        analyzed = _task(_analyze, 2)()
        [*steps, analyzed] >> EmptyOperator(task_id="all_done")
        analyzed >> _task(_report, 1, trigger_rule=TriggerRule.ALL_DONE)(steps)
    return dag


def _task(function: Callable[..., Any], weight: int, **arguments: Any) -> Any:  # noqa: ANN401 - as Airflow has them
    """Return the task of a step; the weights give the order."""
    from etl.catalog.queues import MAINTENANCE

    name = function.__name__.removeprefix("_")
    return task(task_id=name, priority_weight=100 * MAINTENANCE.priority + weight, **arguments)(function)


def _purge_raw(**_params: object) -> list[dict[str, Any]]:
    from etl.catalog.entities import ENTITIES, FAULTS
    from etl.catalog.retention import RETENTION
    from etl.maintenance.purge import require_no_faults
    from etl.maintenance.purge_storage import purge_raw

    require_no_faults(FAULTS)
    with connections.warehouse() as db:
        return _to_dicts(purge_raw(RETENTION, ENTITIES, db=db, root=connections.raw_root(), **_run_arguments()))


def _purge_orphans(**_params: object) -> list[dict[str, Any]]:
    from etl.catalog.retention import RETENTION
    from etl.maintenance.purge_storage import purge_orphans

    with connections.warehouse() as db:
        return _to_dicts(purge_orphans(RETENTION, db=db, root=connections.raw_root(), **_run_arguments()))


def _purge_typed(**_params: object) -> list[dict[str, Any]]:
    from etl.catalog.retention import RETENTION
    from etl.maintenance.purge_storage import purge_typed

    with connections.warehouse() as db:
        return _to_dicts(purge_typed(RETENTION, db=db, root=connections.raw_root(), **_run_arguments()))


def _purge_unfinished(**_params: object) -> list[dict[str, Any]]:
    from etl.catalog.retention import RETENTION
    from etl.maintenance.purge_storage import purge_unfinished

    with connections.warehouse() as db:
        return _to_dicts(purge_unfinished(RETENTION, db=db, root=connections.raw_root(), **_run_arguments()))


def _purge_rows(**_params: object) -> list[dict[str, Any]]:
    from etl.catalog.retention import RETENTION
    from etl.maintenance.purge_tables import purge_rows

    with connections.warehouse() as db:
        return _to_dicts(purge_rows(RETENTION, db=db, **_run_arguments()))


def _purge_deliveries(**_params: object) -> list[dict[str, Any]]:
    from etl.catalog.retention import RETENTION
    from etl.maintenance.purge_tables import purge_bounces, purge_deliveries

    with connections.warehouse() as db:
        arguments = _run_arguments()
        return _to_dicts(
            [*purge_deliveries(RETENTION, db=db, **arguments), *purge_bounces(RETENTION, db=db, **arguments)]
        )


def _clean_metadata(**_params: object) -> list[dict[str, Any]]:
    from etl.catalog.retention import RETENTION
    from sluice_metadata_cleanup import clean_metadata

    return _to_dicts(clean_metadata(RETENTION, **_run_arguments()))


def _analyze(**_params: object) -> list[str]:
    from etl.maintenance.analyze import analyze_stale_tables

    with connections.warehouse() as db:
        return analyze_stale_tables(db=db, dry_run=_dry_run())


def _report(steps: list[Any], **_params: object) -> str:
    from etl.maintenance.removed import PurgeResult, summarize

    summary = summarize((PurgeResult(**result) for step in steps for result in step or ()), dry_run=_dry_run())
    failed = sum(step is None for step in steps)
    if failed:
        log.error("%d steps failed; the next run removes what they did not", failed)
    log.info(summary)
    return summary


_PURGES = (
    _purge_raw,
    _purge_orphans,
    _purge_typed,
    _purge_unfinished,
    _purge_rows,
    _purge_deliveries,
    _clean_metadata,
)
"""In the order in which they run."""


def _run_arguments() -> dict[str, Any]:
    return {"as_of": datetime.now(UTC), "dry_run": _dry_run()}


def _dry_run() -> bool:
    return bool(get_current_context()["params"].get("dry_run"))


def _to_dicts(results: Iterable[PurgeResult]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]


def _default_args() -> dict[str, Any]:
    from etl.catalog.queues import MAINTENANCE

    return {
        "owner": "sluice",
        "queue": MAINTENANCE.name,
        "pool": MAINTENANCE.pool.name,
        "weight_rule": "absolute",
        "execution_timeout": timedelta(hours=2),
        "retries": 3,
        "retry_policy": ErrorTypeRetryPolicy(),
    }
