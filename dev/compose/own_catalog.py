"""Test of a catalogue of one's own, and of connections of one's own, in the containers."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dev.compose.expectation import expect
from dev.compose.project import Project
from dev.demo.airflow_api import AirflowApi

_DAG = "etl_examplebank_transactions"
_ENTITY = "entities/examplebank_transactions.py"
_SCHEDULE, _EDITED_SCHEDULE = "0 3 * * *", "0 4 * * *"
_CONNECTION = '{"conn_type": "http", "host": "https://api.examplebank.test/v1", "password": "a$b"}'
_PROVIDER_CONNECTIONS = ("AIRFLOW_CONN_EXAMPLEBANK", "AIRFLOW_CONN_PLAID")
_EDIT_SECONDS = 60.0
_POLL_SECONDS = 1.0


def check_own_catalog(project: Project, folder: Path) -> None:
    """Restart the stack with a catalogue that `sluice init` wrote and with a file of connections, and use both."""
    catalog, connections = folder / "catalogue", folder / "connections.env"
    catalog.mkdir()
    user = ("--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{catalog}:{catalog}")
    project.run(("docker", "run", "--rm", *user, project.environment["SLUICE_IMAGE"], "sluice", "init", str(catalog)))
    connections.write_text(f"AIRFLOW_CONN_EXAMPLEBANK='{_CONNECTION}'\n", encoding="utf-8")
    own = {"SLUICE_CATALOG": str(catalog), "CONNECTIONS_FILE": str(connections)}
    with_catalog = Project(project.name, project.env_file, {**project.environment, **own})
    with_catalog.compose("up", "--detach", "--wait")
    _expect_connections_in_workers_only(with_catalog)
    settings = project.settings
    with AirflowApi(settings["UI_URL"], user="admin", password=settings["ADMIN_PASSWORD"]) as airflow:
        airflow.wait_for_dag(_DAG)
        entity = catalog / _ENTITY
        entity.write_text(entity.read_text(encoding="utf-8").replace(_SCHEDULE, _EDITED_SCHEDULE), encoding="utf-8")
        _wait_for_schedule(airflow)
        expect("etl_transactions" not in airflow.schedules(), "a Dag of the shipped catalogue is still there")
    for command in (("check", "--database"), ("status",)):
        output = with_catalog.compose("exec", "-T", "worker-low-priority", "sluice", *command)
        expect(command != ("status",) or "examplebank_transactions" in output, f"`sluice status` says:\n{output}")


def _expect_connections_in_workers_only(project: Project) -> None:
    services = project.compose("ps", "--services", "--status=running", profile="").split()
    for service in services:
        names = project.compose("exec", "-T", service, "env").splitlines()
        found = {name for line in names if (name := line.partition("=")[0]) in _PROVIDER_CONNECTIONS}
        expected = set(_PROVIDER_CONNECTIONS) if service.startswith("worker-") else set()
        expect(found == expected, f"{service} has the connections {found}, and should have {expected}")
        expect(not found or f"AIRFLOW_CONN_EXAMPLEBANK={_CONNECTION}" in names, f"{service}: its connection is changed")


def _wait_for_schedule(airflow: AirflowApi) -> None:
    deadline = time.monotonic() + _EDIT_SECONDS
    while (schedule := airflow.schedules().get(_DAG)) != _EDITED_SCHEDULE:
        expect(time.monotonic() < deadline, f"the schedule of an edited entity is still {schedule}")
        time.sleep(_POLL_SECONDS)
