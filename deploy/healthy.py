"""`python -m deploy.healthy PART`: end with exit code 0 if the part of Airflow in this container is well.

Airflow's own commands answer the same questions, but each of them costs seconds of a processor, at every check.
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
"""How old a heartbeat may be."""

_TIMEOUT_SECONDS = 5
_HEARTBEAT_IS_FRESH = """
select max(latest_heartbeat) > now() - %(fresh)s
from job
where job_type = %(job)s and state = 'running' and hostname = %(host)s
"""


def api_server_responds(_: Mapping[str, str]) -> bool:
    """Tell whether the API server answers."""
    with urllib.request.urlopen(HEALTH_URL, timeout=_TIMEOUT_SECONDS) as answer:
        return bool(answer.status == HTTPStatus.OK)


def has_fresh_heartbeat(part: str, environment: Mapping[str, str]) -> bool:
    """Tell whether the part of this host has lately told Airflow's database that it lives."""
    import psycopg

    url = environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg", "", 1)
    with psycopg.connect(url, connect_timeout=_TIMEOUT_SECONDS) as connection:
        asked = {"fresh": MAX_HEARTBEAT_AGE, "job": JOBS[part], "host": socket.gethostname()}
        row = connection.execute(_HEARTBEAT_IS_FRESH, asked).fetchone()
    return row is not None and bool(row[0])


def worker_responds(group: str, environment: Mapping[str, str]) -> bool:
    """Tell whether the worker of this host answers on the broker."""
    from celery import Celery

    name = f"{group}@{socket.gethostname()}"
    with Celery(broker=environment["AIRFLOW__CELERY__BROKER_URL"], set_as_current=False) as app:
        return name in (app.control.inspect([name], timeout=_TIMEOUT_SECONDS).ping() or {})


def check_for(part: str) -> Callable[[Mapping[str, str]], bool]:
    """Return the check of a part: `api-server`, one of `JOBS`, or else the name of a worker group."""
    if part == "api-server":
        return api_server_responds
    if part in JOBS:
        return lambda environment: has_fresh_heartbeat(part, environment)
    return lambda environment: worker_responds(part, environment)


def main() -> None:
    """Check; whatever goes wrong is told in a line, which `docker inspect` shows."""
    (part,) = sys.argv[1:]
    try:
        healthy = check_for(part)(os.environ)
    except Exception as error:  # noqa: BLE001 - the edge of the process
        sys.exit(f"{part}: {type(error).__name__}: {error}")
    sys.exit(None if healthy else f"{part} does not answer, or its heartbeat is old.")


if __name__ == "__main__":
    main()
