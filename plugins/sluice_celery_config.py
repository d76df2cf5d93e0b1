"""Celery's configuration: Airflow's defaults, limits for pool processes, and the preparation of every worker.

`[celery] celery_config_options` names it. A task is a fork of its worker, so modules that the worker has imported cost
the task nothing; importing pandas and pyarrow alone takes more than a second.
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
    "babel.core",
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
    "redis",
    "sluice_entity_dags",
    "sluice_notice_dags",
    "stamina",
    "upath",
    "zstandard",
)
"""Modules that tasks import, except declarations, hooks and SQL: a task reads those as they are when it starts."""

CELERY_CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    # A worker reserves no task that its siblings could start now.
    "worker_prefetch_multiplier": 1,
    # Pool processes are replaced, between two tasks, before leaks add up. Tasks are their forks, and have memory caps.
    "worker_max_tasks_per_child": 500,
    "worker_max_memory_per_child": 600_000,  # KiB
}


def prepare_worker(**_: object) -> None:
    """Exit on a wrong configuration; prepare the app, and import `PRELOADED`, before the pool is forked."""
    exit_if_misconfigured()
    try:
        from airflow.providers.celery.executors.celery_executor_utils import app

        from sluice_coordinator import register_coordinator
        from sluice_workload_filter import restrict

        restrict(app)
        register_coordinator()
        for module in PRELOADED:
            import_module(module)
    except (ImportError, AirflowConfigException) as error:
        # Celery would only log an exception, and start the worker unprepared.
        sys.exit(f"error: this worker cannot prepare for its tasks: {type(error).__name__}: {error}")
    # Exclude preloaded modules from garbage collection, so that forked tasks do not copy their memory pages.
    gc.freeze()


worker_init.connect(prepare_worker)
