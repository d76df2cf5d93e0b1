"""Addresses and credentials of a running stack, for its users."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.servers.bank import Sandbox
from dev.servers.ports import LOOPBACK
from dev.stack import shell_environment
from dev.stack.plan import Plan


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Parameters
    ----------
    home
        Folder of its files.
    ui_url
        URL of the web UI; it responds only if Airflow was started.
    ui_password
        Password of the user `admin`.
    bank_url
        URL of the sandbox bank.
    warehouse_url, metadata_url
        URLs of the Postgres databases of the pipeline and of Airflow.
    broker_url
        URL of the workers' queues.
    sandbox
        State of the sandbox bank.
    environment
        The caller's environment after reading the env file, for programs that use the stack.
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
