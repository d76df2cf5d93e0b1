"""Celery's configuration: Airflow's own, and what every worker does before its first task.

Named by `[celery] celery_config_options`. A task is a fork of its worker, so what the worker has imported costs the
tasks nothing; pandas and pyarrow alone take more than a second.
"""

import gc
import sys
from importlib import import_module
from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG  # noqa: TID253 - Celery's own
from airflow.sdk.exceptions import AirflowConfigException
from celery.signals import worker_init

from sluice_config_check import exit_if_misconfigured

PRELOADED = (
    "aiohttp",
    "airflow.models.asset",
    "airflow.providers.common.io.assets.file",
    "airflow.providers.postgres.assets.postgres",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.providers.redis.hooks.redis",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.operators.empty",
    "airflow.sdk.definitions.timetables.interval",
    "etl.sync.download",
    "etl.sync.load",
    "etl.sync.report",
    "etl.notify.send",
    "etl.sync.store_raw",
    "etl.sync.transform",
    "iso4217",
    "pandas",
    "psycopg",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "redis",
    "sluice_entity_dags",
    "sluice_notice_dags",
    "stamina",
    "upath",
    "zstandard",
)
"""What tasks import, but for what is declared: a task sees declarations, hooks and SQL as they are when it starts."""

CELERY_CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    # A process that has leaked for long is replaced between two tasks. The tasks themselves are its forks, and capped.
    "worker_max_tasks_per_child": 500,
    "worker_max_memory_per_child": 600_000,  # KiB
}


def prepare_worker(**_: object) -> None:
    """Stop on a wrong configuration; then attend tasks, and import what they need, in the parent of all processes."""
    exit_if_misconfigured()
    try:
        from sluice_coordinator import register_coordinator

        register_coordinator()
        for module in PRELOADED:
            import_module(module)
    except (ImportError, AirflowConfigException) as error:
        # Raised, it would be written down by Celery, and the worker would start without.
        sys.exit(f"error: this worker cannot prepare for its tasks: {type(error).__name__}: {error}")
    # What was imported stays: no process needs to look for garbage in it, nor copy the pages where it lies for that.
    gc.freeze()


worker_init.connect(prepare_worker)
