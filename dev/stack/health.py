"""Whether Airflow is up: its components' heartbeats, and its workers' answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dev.servers import http

HEALTH = "/api/v2/monitor/health"
COMPONENTS = ("scheduler", "dag_processor", "triggerer")
_PING_SECONDS = 1.0


def components_missing(port: int, *, since: datetime) -> list[str]:
    """Return which parts of Airflow the API server does not, or not yet, call healthy.

    Parameters
    ----------
    port
        Of the API server.
    since
        Heartbeats before this instant are of an earlier start.
    """
    return ["api-server"] if (health := http.get_json(port, HEALTH)) is None else unhealthy(health, since=since)


def unhealthy(health: Mapping[str, Any], *, since: datetime) -> list[str]:
    """Return the components that an answer of the API server does not call healthy since an instant."""
    return [component for component in COMPONENTS if not _is_healthy(health.get(component), component, since)]


def workers_missing(broker_url: str, names: Sequence[str], *, tag: str) -> list[str]:
    """Return which workers do not answer on the broker.

    Parameters
    ----------
    broker_url
        Where they listen.
    names
        What stands before `@` in their names.
    tag
        What these names end with, and those of other stacks do not.
    """
    from celery import Celery

    with Celery(broker=broker_url, set_as_current=False) as app:
        inspect = app.control.inspect(pattern=f"*-{tag}@*", matcher="glob", limit=len(names), timeout=_PING_SECONDS)
        answered = {worker.partition("@")[0] for worker in (inspect.ping() or {})}
    return [name for name in names if name not in answered]


def _is_healthy(component: Mapping[str, Any] | None, name: str, since: datetime) -> bool:
    if component is None or component.get("status") != "healthy":
        return False
    beat = component.get(f"latest_{name}_heartbeat")
    return beat is not None and datetime.fromisoformat(beat) >= since
