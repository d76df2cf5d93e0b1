"""A running stack, as others see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.servers.bank import Sandbox
from dev.servers.ports import LOOPBACK
from dev.stack import shell_environment
from dev.stack.plan import Plan


@dataclass(frozen=True)
class Stack:
    """Where the parts of a running stack are.

    Parameters
    ----------
    home
        Folder of its files.
    ui_url
        The web UI; answers only if Airflow was started.
    ui_password
        Of the user `admin`.
    bank_url
        The sandbox bank.
    warehouse_url, metadata_url
        Postgres databases of the pipeline and of Airflow.
    broker_url
        Queues of the workers.
    sandbox
        What the bank serves.
    environment
        The caller's environment as it is after reading the env file: for programs that use the stack.
    """

    home: Path
    ui_url: str
    bank_url: str
    sandbox: Sandbox
    ui_password: str = field(repr=False)
    warehouse_url: str = field(repr=False)
    metadata_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)


def from_plan(plan: Plan, *, caller_environment: Mapping[str, str]) -> Stack:
    """Return the stack that a plan describes."""
    return Stack(
        home=plan.home.folder,
        ui_url=f"http://{LOOPBACK}:{plan.ports['ui']}",
        bank_url=f"http://{LOOPBACK}:{plan.ports['bank']}",
        sandbox=plan.sandbox,
        ui_password=plan.secrets.admin_password,
        warehouse_url=plan.servers.warehouse.to_string(),
        metadata_url=plan.servers.metadata.to_string(),
        broker_url=plan.servers.broker.to_string(),
        environment=shell_environment.for_shell(plan.env_file_variables, caller_environment),
    )
