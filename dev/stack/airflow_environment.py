"""Every Airflow setting of the local stack, as a table.

`SETTINGS` holds what is the same wherever Sluice runs; the functions add what folders, servers and secrets decide.
"""

import json
from collections.abc import Mapping
from typing import TypeAlias

from dev.servers.ports import LOOPBACK
from dev.stack.chosen_servers import ChosenServers
from dev.stack.home import REPOSITORY, Home
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
        # Tasks hand on ids; what they stand for is stored.
        "xcom_backend": "sluice_xcom_backend.CappedXCom",
    },
    "celery": {
        # Airflow's own, and what the workers load before their first task.
        "celery_config_options": "sluice_celery_config.CELERY_CONFIG",
        "operation_timeout": "10",
        "task_acks_late": "True",
        "worker_prefetch_multiplier": "1",
    },
    "celery_broker_transport_options": {
        # A worker polls its queues in the order of its command line: the most urgent first.
        "queue_order_strategy": "priority",
        # Above the longest task: a message not acknowledged by then is delivered once more.
        "visibility_timeout": "86400",
    },
    "scheduler": {
        # What a task that has ended lets run waits for the next pass. A pass that finds nothing takes some 30 ms of the
        # processor, which more of them would take from the tasks.
        "scheduler_idle_sleep_time": "0.5",
        # Backlogs wait in the metadata database, so a message that waits long is lost rather than late.
        "task_queued_timeout": "90",
        "task_queued_timeout_check_interval": "15",
        "num_stuck_in_queued_retries": "10",
        "task_instance_heartbeat_timeout": "60",
    },
    "dag_processor": {
        "refresh_interval": "10",
        # The Dags folder is one local bundle without versions: nothing is ever stale.
        "stale_bundle_cleanup_interval": "0",
    },
    "api": {
        "workers": "1",
    },
    "logging": {
        # What is said of every file parsed and every request answered would hide the rest.
        "namespace_levels": " ".join(f"{logger}=WARNING" for logger in _NOISY_LOGGERS),
    },
}
"""What is the same wherever Sluice runs."""


def folder_settings(home: Home) -> Settings:
    """Return the settings that say where files are."""
    return {
        "core": {
            "dags_folder": str(REPOSITORY / "dags"),
            "plugins_folder": str(REPOSITORY / "plugins"),
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
    """Return the settings that say who answers where."""
    ui = f"http://{LOOPBACK}:{ports['ui']}"
    metadata = servers.metadata.to_string(scheme="postgresql+psycopg")
    # One log server for both: workers and triggerer write to the same folder.
    logs = str(ports["logs"])
    return {
        "core": {
            "execution_api_server_url": f"{ui}/execution/",
            # Where logs are served: the standard library's name for 127.0.0.1, found without asking a name server.
            "hostname_callable": "urllib.request.localhost",
        },
        # The same driver serves both; the one that Airflow would derive does not know libpq's options.
        "database": {"sql_alchemy_conn": metadata, "sql_alchemy_conn_async": metadata},
        "celery": {"broker_url": servers.broker.to_string(), "result_backend": f"db+{metadata}"},
        "api": {"host": LOOPBACK, "port": str(ports["ui"]), "base_url": ui},
        "logging": {"worker_log_server_port": logs, "trigger_log_server_port": logs},
    }


def secret_settings(secrets: Secrets) -> Settings:
    """Return the settings that nobody else may know."""
    return {
        "core": {"fernet_key": secrets.fernet_key},
        "api": {"secret_key": secrets.api_secret_key},
        "api_auth": {"jwt_secret": secrets.jwt_secret},
    }


def to_environment(*tables: Settings) -> dict[str, str]:
    """Return settings as the environment variables that Airflow reads."""
    return {
        f"AIRFLOW__{section.upper()}__{option.upper()}": value
        for table in tables
        for section, options in table.items()
        for option, value in options.items()
    }


def render_password_file(secrets: Secrets) -> str:
    """Return the contents of the password file of Airflow's simple auth manager."""
    return json.dumps({ADMIN: secrets.admin_password}) + "\n"
