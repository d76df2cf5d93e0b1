"""Registers the reference of deadlines and the listener to task failures with Airflow."""

from airflow.plugins_manager import AirflowPlugin

import sluice_failure_listener
from sluice_deadline import RunDue


class SluicePlugin(AirflowPlugin):
    """Registers both."""

    name = "sluice"
    deadline_references = [RunDue]  # noqa: RUF012 - as Airflow declares them
    listeners = [sluice_failure_listener]  # noqa: RUF012 - likewise
