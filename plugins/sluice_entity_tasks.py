"""Tasks of an entity's Dag; the body of each is an import and a call.

Tasks exchange ids only: ordinals of chunks and ids of raw batches. Step modules are imported inside the tasks, since
Airflow parses the Dag file again for every task.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, TriggerRule, get_current_context, task_group

import sluice_connections as connections
from etl.chunking import DayRange
from etl.declare.entity import Entity
from sluice_reschedule import task
from sluice_task_results import require_result, warn_if_not_planned

if TYPE_CHECKING:
    from etl.db.connection import Connection

_LABEL_TEMPLATE = "{{ chunk | default('chunk ' ~ ti.map_index) }}"


def plan(entity: Entity) -> Any:  # noqa: ANN401 - Airflow does not say what a task call returns
    """Return the task that plans a run; keys of the run's conf are ignored."""

    @task(task_id="plan", priority_weight=_priority_weight(entity, step=0))
    def plan_run(**_params: object) -> list[int]:
        from etl.sync import plan as step

        with connections.warehouse() as db:
            return step.plan(entity, _run_id(), db=db, days=_backfill_days())

    return plan_run()


def provider_chunk(entity: Entity) -> Any:  # noqa: ANN401 - likewise
    """Return the task group that takes a chunk of provider accounts from download to load.

    No step after the download may use all slots of the queue, so that some chunks are downloaded while others are
    loaded. The price is an unused slot at the end of a run, when all its remaining chunks are at the same step.
    """

    @task(priority_weight=_priority_weight(entity, step=1), map_index_template=_LABEL_TEMPLATE)
    def download(ordinal: int) -> int:
        from etl.sync import download as step

        with connections.warehouse() as db:
            _set_label(entity, ordinal, db)
            return step.download(
                entity,
                _run_id(),
                ordinal,
                db=db,
                root=connections.raw_root(),
                cipher=connections.cipher(),
                endpoint=connections.endpoint(entity.provider.connection),
                limiter=connections.limiter(),
            )

    @task(
        priority_weight=_priority_weight(entity, step=2),
        max_active_tis_per_dagrun=_max_parallel_tasks(entity),
        map_index_template=_LABEL_TEMPLATE,
    )
    def store_raw(ordinal: int | None) -> int:
        from etl.sync import store_raw as step

        ordinal = require_result(ordinal, of="download")
        with connections.warehouse() as db:
            _set_label(entity, ordinal, db)
            return step.store_raw(entity, _run_id(), ordinal, db=db, root=connections.raw_root())

    @task(
        priority_weight=_priority_weight(entity, step=3),
        max_active_tis_per_dagrun=_max_parallel_tasks(entity),
        map_index_template=_LABEL_TEMPLATE,
    )
    def transform(raw_id: int | None) -> int:
        from etl.sync import transform as step

        raw_id = require_result(raw_id, of="store_raw")
        with connections.warehouse() as db:
            get_current_context()["chunk"] = f"raw batch {raw_id}"  # type: ignore[typeddict-unknown-key]
            return step.transform(entity, raw_id, db=db, root=connections.raw_root())

    @task(
        priority_weight=_priority_weight(entity, step=4),
        max_active_tis_per_dagrun=_max_parallel_tasks(entity),
        map_index_template=_LABEL_TEMPLATE,
    )
    def load(raw_id: int | None) -> None:
        from etl.sync import load as step

        raw_id = require_result(raw_id, of="transform")
        with connections.warehouse() as db:
            get_current_context()["chunk"] = f"raw batch {raw_id}"  # type: ignore[typeddict-unknown-key]
            step.load(entity, raw_id, db=db, root=connections.raw_root())

    @task_group
    def chunk(ordinal: int) -> None:
        load(transform(store_raw(download(ordinal))))  # type: ignore[arg-type] # an XCom that will hold an id

    return chunk


def raw_chunk(entity: Entity) -> Any:  # noqa: ANN401 - likewise
    """Return the task group that types and loads a chunk of raw batches, downloaded for another entity."""

    @task(priority_weight=_priority_weight(entity, step=3), map_index_template=_LABEL_TEMPLATE)
    def transform(ordinal: int) -> int:
        from etl.sync import transform as step

        with connections.warehouse() as db:
            _set_label(entity, ordinal, db)
            return step.transform_pending(entity, _run_id(), ordinal, db=db, root=connections.raw_root())

    @task(priority_weight=_priority_weight(entity, step=4), map_index_template=_LABEL_TEMPLATE)
    def load(ordinal: int | None) -> None:
        from etl.sync import load as step

        ordinal = require_result(ordinal, of="transform")
        with connections.warehouse() as db:
            _set_label(entity, ordinal, db)
            step.load_pending(entity, _run_id(), ordinal, db=db, root=connections.raw_root())

    @task_group
    def chunk(ordinal: int) -> None:
        load(transform(ordinal))  # type: ignore[arg-type] # an XCom that will hold an ordinal

    return chunk


def report(entity: Entity, *, outlet: Asset) -> Any:  # noqa: ANN401 - likewise
    """Return the task that sums up a run, and publishes the counts in the asset event of its entity."""

    @task(
        task_id="report",
        priority_weight=_priority_weight(entity, step=5),
        trigger_rule=TriggerRule.ALL_DONE,
        outlets=[outlet],
    )
    def report_run() -> dict[str, int]:
        from etl.sync import report as step

        warn_if_not_planned()
        with connections.warehouse() as db:
            totals = step.report(entity, _run_id(), db=db)
        get_current_context()["outlet_events"][outlet].extra = {**totals}
        return totals

    return report_run()


def check_logins(entity: Entity) -> Any:  # noqa: ANN401 - likewise
    """Return the task that fails a run in which too many logins stopped or are quarantined.

    It runs after `report`, which never fails for this, so that dependent Dags start. If `report` fails, it fails, too:
    a run fails if one of its last tasks does.
    """

    @task(task_id="check_logins", priority_weight=_priority_weight(entity, step=6))
    def check_logins_of_run() -> None:
        from etl.sync.logins import breaker as step

        with connections.warehouse() as db:
            step.check_logins(entity, _run_id(), db=db)

    return check_logins_of_run()


def _priority_weight(entity: Entity, *, step: int) -> int:
    """Return the weight of a step: later steps weigh more, so that chunks are processed depth first."""
    return 100 * entity.queue.priority + step


def _max_parallel_tasks(entity: Entity) -> int:
    """Return how many tasks of a step a run may run at once: one less than its queue has slots, at least one."""
    return max(entity.queue.slots - 1, 1)


def _run_id() -> str:
    return str(get_current_context()["run_id"])


def _backfill_days() -> DayRange | None:
    """Return the days that a backfill run covers; None for any other run, which continues from the cursors."""
    context = get_current_context()
    if context["dag_run"].run_type != "backfill":
        return None
    start, end = context["data_interval_start"], context["data_interval_end"]
    if start is None or end is None:
        return None
    return DayRange(start.date(), (end - timedelta(microseconds=1)).date())


def _set_label(entity: Entity, ordinal: int, db: Connection) -> None:
    """Set the chunk's label in Airflow's grid to what it covers."""
    from etl.sync.store import chunks

    chunk = chunks.find(db, entity=entity.name, run_id=_run_id(), ordinal=ordinal)
    get_current_context()["chunk"] = str(chunk)  # type: ignore[typeddict-unknown-key]
