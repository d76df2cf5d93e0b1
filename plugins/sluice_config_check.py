"""Settings without which work would be lost; a component of Airflow does not start if one of them is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from etl.declare.queue import MAX_TASK_DURATION
from etl.errors import SettingMissing
from etl.settings import ReturnPathSettings

_SENT_TWICE = "a message would be delivered a second time while its task still runs"
_STUCK_TASK = "a task whose message was lost would wait that long before it is sent again"
_DEAD_WORKER = "a task whose worker died would seem to run that long"
_LIMITS = (
    ("celery_broker_transport_options", "visibility_timeout", MAX_TASK_DURATION.total_seconds() + 1, None, _SENT_TWICE),
    ("scheduler", "task_queued_timeout", 30, 300, _STUCK_TASK),
    ("scheduler", "task_queued_timeout_check_interval", 1, 60, _STUCK_TASK),
    ("scheduler", "task_instance_heartbeat_timeout", 30, 300, _DEAD_WORKER),
    ("scheduler", "num_stuck_in_queued_retries", 5, None, "a broker that is down for minutes would fail tasks"),
)
"""Section, option, smallest and largest value, and the consequence of any other."""
_REQUIRED_VALUES = (
    ("core", "executor", "CeleryExecutor", "no task would reach the workers"),
    ("core", "xcom_backend", "sluice_xcom_backend.CappedXCom", "tasks could return values of any size"),
    ("celery", "task_acks_late", "True", "tasks of a worker that dies would be lost"),
)
"""Section, option, text that its value must contain, and the consequence if it does not."""
_SECRETS = (("core", "fernet_key", 44), ("api_auth", "jwt_secret", 32))
"""Section, option and minimum length."""
_REQUIRED_SETTINGS = ("SLUICE_KEYS", "SLUICE_RAW_ROOT")


class Configuration(Protocol):
    """Airflow's configuration."""

    def get(self, section: str, key: str, **_: Any) -> str | None:  # noqa: ANN401 - as Airflow declares it
        """Return the value of an option."""


def config_errors(configuration: Configuration, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a message for each setting that would lose work; no message holds the value of a secret."""
    for section, option, minimum, maximum, consequence in _LIMITS:
        value = configuration.get(section, option, fallback=None)
        if not _is_within(value, minimum, maximum):
            bounds = f"at least {minimum:g}" if maximum is None else f"from {minimum:g} to {maximum:g}"
            yield f"[{section}] {option} is {value!r}; set it to {bounds}, or {consequence}."
    for section, option, required, consequence in _REQUIRED_VALUES:
        value = configuration.get(section, option, fallback=None)
        if required.lower() not in (value or "").lower():
            yield f"[{section}] {option} is {value!r}; set it to {required}, or {consequence}."
    for section, option, length in _SECRETS:
        if len(configuration.get(section, option, fallback=None) or "") < length:
            yield f"[{section}] {option} is missing or shorter than {length} characters; set one for all components."
    for name in _REQUIRED_SETTINGS:
        if not environment.get(name, "").strip():
            yield f"{name} is not set."
    try:
        # It reads the settings of links, too.
        ReturnPathSettings.from_environment(environment)
    except SettingMissing as error:
        yield str(error)


def exit_if_misconfigured() -> None:
    """Exit with a message for each wrong setting, if there are any."""
    from airflow.configuration import conf

    if errors := list(config_errors(conf, os.environ)):
        sys.exit("\n".join(("Sluice does not start with this configuration:", *(f"- {error}" for error in errors))))


def _is_within(value: str | None, minimum: float, maximum: float | None) -> bool:
    try:
        number = float(value or "")
    except ValueError:
        return False
    return minimum <= number and (maximum is None or number <= maximum)


class StartupListener:
    """Listener that Airflow calls when one of its components starts."""

    @hookimpl
    def on_starting(self, component: object) -> None:
        """Check the configuration, except in the process of a task, whose worker has checked it."""
        if hasattr(component, "job_type"):
            exit_if_misconfigured()


class ConfigCheckPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "sluice_config_check"
    listeners = [StartupListener()]  # noqa: RUF012 - as Airflow declares them
