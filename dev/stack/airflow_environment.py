"""All Airflow settings of the local stack.

`SETTINGS` holds those that are the same wherever Sluice runs; functions return those that depend on folders, servers
and secrets.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from dev.servers.ports import LOOPBACK
from dev.stack.chosen_servers import ChosenServers
from dev.stack.home import Home
from dev.stack.saved_state import Secrets

ADMIN = "admin"

_NOISY_LOGGERS = ("http.access", "airflow.dag_processing", "airflow.serialization", "airflow.models.dag")

Settings: TypeAlias = Mapping[str, Mapping[str, str]]
"""Section → option → value."""

SETTINGS: Settings = {
    "core": {
        "executor": "CeleryExecutor",
        "default_timezone": "utc",
        "load_examples": "False",
        "parallelism": "32",
        # A Dag that is edited twice within half a minute shows the second edit too.
        "min_serialized_dag_update_interval": "5",
        # Tasks pass on ids only; the backend rejects larger values.
        "xcom_backend": "sluice_xcom_backend.CappedXCom",
    },
    "celery": {
        # Airflow's own configuration, and the modules that workers import before their first task.
        "celery_config_options": "sluice_celery_config.CELERY_CONFIG",
        "operation_timeout": "10",
        "task_acks_late": "True",
    },
    "celery_broker_transport_options": {
        # A worker polls its queues in the order of its command line, which lists the most urgent queue first.
        "queue_order_strategy": "priority",
        # Longer than any task: a message that is not acknowledged within this time is delivered again.
        "visibility_timeout": "86400",
    },
    "scheduler": {
        # Downstream tasks start at the next scheduler loop. An idle loop costs about 30 ms of CPU, so shorter sleeps
        # would slow the tasks.
        "scheduler_idle_sleep_time": "0.5",
        # A backlog waits in the metadata database, so a message that stays long in a queue is lost, not late.
        "task_queued_timeout": "90",
        "task_queued_timeout_check_interval": "15",
        "num_stuck_in_queued_retries": "10",
        "task_instance_heartbeat_timeout": "60",
        # How often Dags that are gone from their file are looked for.
        "parsing_cleanup_interval": "5",
    },
    "dag_processor": {
        # An edit of a declaration is seen at the next parse. A Dag that is gone is stale if it was not in its file for
        # longer than the threshold: longer than an interval, so that one parse that was not stored ends no Dag.
        "refresh_interval": "10",
        "min_file_process_interval": "10",
        "stale_dag_threshold": "15",
        # The Dags folder is one local bundle without versions, so it has no stale versions.
        "stale_bundle_cleanup_interval": "0",
    },
    "api": {
        "workers": "1",
    },
    "logging": {
        # Lines for every parsed file and every request would hide the others.
        "namespace_levels": " ".join(f"{logger}=WARNING" for logger in _NOISY_LOGGERS),
    },
}
"""Settings that are the same wherever Sluice runs."""


def folder_settings(home: Home, project: Path) -> Settings:
    """Return the settings that hold paths of files and folders; the project has `dags` and `plugins`."""
    return {
        "core": {
            "dags_folder": str(project / "dags"),
            "plugins_folder": str(project / "plugins"),
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": str(home.passwords_file),
        },
        "logging": {
            "base_log_folder": str(home.airflow_home / "logs"),
            "dag_processor_child_process_log_directory": str(home.airflow_home / "logs" / "dag_processor"),
            "colored_console_log": "False",
        },
    }


def server_settings(ports: Mapping[str, int], servers: ChosenServers) -> Settings:
    """Return the settings that hold addresses of servers."""
    ui = f"http://{LOOPBACK}:{ports['ui']}"
    metadata = servers.metadata.to_string(scheme="postgresql+psycopg")
    # Workers and triggerer share one log server, since they write to the same folder.
    logs = str(ports["logs"])
    return {
        "core": {
            "execution_api_server_url": f"{ui}/execution/",
            # Host name in the URLs of task logs; this function returns 127.0.0.1 without asking a name server.
            "hostname_callable": "urllib.request.localhost",
        },
        # psycopg for both engines: the async driver that Airflow would choose does not know libpq's options.
        "database": {"sql_alchemy_conn": metadata, "sql_alchemy_conn_async": metadata},
        "celery": {"broker_url": servers.broker.to_string(), "result_backend": f"db+{metadata}"},
        "api": {"host": LOOPBACK, "port": str(ports["ui"]), "base_url": ui},
        "logging": {"worker_log_server_port": logs, "trigger_log_server_port": logs},
    }


def secret_settings(secrets: Secrets) -> Settings:
    """Return the secret settings."""
    return {
        "core": {"fernet_key": secrets.fernet_key},
        "api": {"secret_key": secrets.api_secret_key},
        "api_auth": {"jwt_secret": secrets.jwt_secret},
    }


def to_environment(*tables: Settings) -> dict[str, str]:
    """Return settings as environment variables, in the form that Airflow reads."""
    return {
        f"AIRFLOW__{section.upper()}__{option.upper()}": value
        for table in tables
        for section, options in table.items()
        for option, value in options.items()
    }


def render_password_file(secrets: Secrets) -> str:
    """Return the contents of the password file of Airflow's simple auth manager."""
    return json.dumps({ADMIN: secrets.admin_password}) + "\n"
