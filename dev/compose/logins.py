"""Test of another auth manager, FAB: its image, its tables, its first user."""

from __future__ import annotations

from dev.compose.expectation import expect
from dev.compose.project import Project
from dev.demo.airflow_api import AirflowApi
from etl.clients.airflow import AirflowRefused

FAB_SETTINGS = {
    "AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "REQUIREMENTS": "requirements-fab.lock",
    "SLUICE_IMAGE": "sluice-fab-test:latest",
}
_UNAUTHORIZED = 401


def check_fab_login(project: Project) -> None:
    """Restart the API server with FAB, and expect that it accepts its first user's password and no other."""
    with_fab = Project(project.name, project.env_file, {**project.environment, **FAB_SETTINGS})
    with_fab.compose("up", "--detach", "--build", "--wait", "api-server")
    settings = project.settings
    with AirflowApi(settings["UI_URL"], user="admin", password=settings["ADMIN_PASSWORD"]) as airflow:
        airflow.wait_for_dag("etl_transactions")
    try:
        with AirflowApi(settings["UI_URL"], user="admin", password="guess-me"):  # noqa: S106 - a wrong one
            expect(condition=False, message="a wrong password was accepted")
    except AirflowRefused as refused:
        expect(refused.status == _UNAUTHORIZED, f"a wrong password was answered with {refused.status}")
