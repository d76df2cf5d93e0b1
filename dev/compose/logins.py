"""Another auth manager: its image, its tables, its first user."""

from __future__ import annotations

import httpx

from dev.compose.expectation import expect
from dev.compose.project import Project
from dev.demo.airflow_api import AirflowApi

FAB_SETTINGS = {
    "AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "REQUIREMENTS": "requirements-fab.lock",
    "SLUICE_IMAGE": "sluice-fab-test:latest",
}


def check_fab_login(project: Project) -> None:
    """Expect that the API server, started again with FAB, lets its first user in, and nobody else."""
    with_fab = Project(project.name, project.env_file, {**project.environment, **FAB_SETTINGS})
    with_fab.compose("up", "--detach", "--build", "--wait", "api-server")
    settings = project.settings
    with AirflowApi(settings["UI_URL"], user="admin", password=settings["ADMIN_PASSWORD"]) as airflow:
        airflow.wait_for_dag("etl_transactions")
    try:
        with AirflowApi(settings["UI_URL"], user="admin", password="guess-me"):  # noqa: S106 - a wrong one
            expect(condition=False, message="a wrong password was let in")
    except httpx.HTTPStatusError as refused:
        code = refused.response.status_code
        expect(code == httpx.codes.UNAUTHORIZED, f"a wrong password was answered with {code}")
