"""`python -m deploy.healthy COMPONENT`: exit with code 0 if the Airflow component of this container is healthy.

Airflow's own commands check the same, but each of them costs seconds of CPU time at every check.
"""

import os
import socket
import sys
import urllib.request
from collections.abc import Callable, Mapping
from datetime import timedelta
from http import HTTPStatus

HEALTH_URL = "http://127.0.0.1:8080/api/v2/monitor/health"
JOBS = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}
MAX_HEARTBEAT_AGE = timedelta(seconds=45)
"""Age above which a heartbeat counts as missed."""

_TIMEOUT_SECONDS = 5
_HEARTBEAT_IS_FRESH = """
select max(latest_heartbeat) > now() - %(fresh)s
from job
where job_type = %(job)s and state = 'running' and hostname = %(host)s
"""


def api_server_responds(_: Mapping[str, str]) -> bool:
    """Return whether the API server answers its health endpoint."""
    with urllib.request.urlopen(HEALTH_URL, timeout=_TIMEOUT_SECONDS) as response:
        return bool(response.status == HTTPStatus.OK)


def has_fresh_heartbeat(component: str, environment: Mapping[str, str]) -> bool:
    """Return whether the component on this host has recently written a heartbeat to Airflow's database."""
    from etl.db.connection import connect_url
    from etl.db.timeouts import METADATA_TIMEOUTS

    url = environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg", "", 1)
    with connect_url(url, timeouts=METADATA_TIMEOUTS, connect_seconds=_TIMEOUT_SECONDS) as connection:
        values = {"fresh": MAX_HEARTBEAT_AGE, "job": JOBS[component], "host": socket.gethostname()}
        row = connection.execute(_HEARTBEAT_IS_FRESH, values).fetchone()
    return row is not None and bool(row[0])


def worker_responds(group: str, environment: Mapping[str, str]) -> bool:
    """Return whether the worker on this host answers a ping through the broker."""
    from celery import Celery

    name = f"{group}@{socket.gethostname()}"
    with Celery(broker=environment["AIRFLOW__CELERY__BROKER_URL"], set_as_current=False) as app:
        return name in (app.control.inspect([name], timeout=_TIMEOUT_SECONDS).ping() or {})


def check_for(component: str) -> Callable[[Mapping[str, str]], bool]:
    """Return the check of a component: `api-server`, one of `JOBS`, or else the name of a worker group."""
    if component == "api-server":
        return api_server_responds
    if component in JOBS:
        return lambda environment: has_fresh_heartbeat(component, environment)
    return lambda environment: worker_responds(component, environment)


def main() -> None:
    """Run the check; on failure exit with a one-line reason, which `docker inspect` shows."""
    (component,) = sys.argv[1:]
    try:
        healthy = check_for(component)(os.environ)
    except Exception as error:  # noqa: BLE001 - the edge of the process
        sys.exit(f"{component}: {type(error).__name__}: {error}")
    sys.exit(None if healthy else f"{component} does not answer, or its heartbeat is too old.")


if __name__ == "__main__":
    main()
