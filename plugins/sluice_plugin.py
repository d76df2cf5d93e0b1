"""What Airflow is told of at its start: the deadlines' reference, and who listens to failures."""

from airflow.plugins_manager import AirflowPlugin

import sluice_failure_listener
from sluice_deadlines import RunDue


class SluicePlugin(AirflowPlugin):
    """Sluice, as Airflow sees it."""

    name = "sluice"
    deadline_references = [RunDue]  # noqa: RUF012 - as Airflow declares them
    listeners = [sluice_failure_listener]  # noqa: RUF012 - likewise
