"""Decides what a stack is to be, from its home and its caller's environment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dev.servers import bank, placement
from dev.servers.bank import Sandbox
from dev.servers.binaries import postgres_folder
from dev.servers.errors import SecretsLost
from dev.servers.postgres import SETTINGS
from dev.servers.privileges import Privileges
from dev.stack import bank_used, environment, ports_file, secrets_file, servers_used
from dev.stack.home import Home
from dev.stack.plan import Plan


@dataclass(frozen=True)
class Wishes:
    """What the caller of a start may choose.

    Parameters
    ----------
    sandbox
        What the bank serves; None for what it served at the last start, or what the caller's environment names.
    advance
        Days that pass at a bank of an earlier start.
    settings
        Of the embedded Postgres.
    privileges
        How the embedded Postgres is run; None for the best way that works here.
    ui
        Port that the web UI has at the first start, if it is free; None for any.
    """

    sandbox: Sandbox | None = None
    advance: int = 0
    settings: Mapping[str, str] = field(default_factory=lambda: SETTINGS)
    privileges: Privileges | None = None
    ui: int | None = 8080


def of_running(home: Home, *, caller: Mapping[str, str], wishes: Wishes, say: Callable[[str], None]) -> Plan:
    """Return the plan that a running stack should have been started with; its ports stay."""
    sandbox = _sandbox(home, caller=caller, wishes=wishes)
    return _plan(home, ports_file.load(home.ports), sandbox, caller=caller, wishes=wishes, say=say)


def of_start(home: Home, *, caller: Mapping[str, str], wishes: Wishes, say: Callable[[str], None]) -> Plan:
    """Return the plan of a stack that is to be started; settles ports and the bank."""
    sandbox = _sandbox(home, caller=caller, wishes=wishes)
    bank.remember(home.bank, sandbox)
    return _plan(
        home, ports_file.settle(home.ports, ui=wishes.ui, say=say), sandbox, caller=caller, wishes=wishes, say=say
    )


def _plan(
    home: Home,
    ports: Mapping[str, int],
    sandbox: Sandbox,
    *,
    caller: Mapping[str, str],
    wishes: Wishes,
    say: Callable[[str], None],
) -> Plan:
    _check_secrets(home)
    secrets = secrets_file.load(home.secrets)
    servers = servers_used.decide(caller, secrets=secrets, ports=ports)
    cluster = None
    if servers.warehouse_is_embedded:
        cluster = placement.place(home.postgres, postgres_folder(), privileges=wishes.privileges, say=say)
    return Plan(home, secrets, ports, servers, cluster, wishes.settings, sandbox, environment.passed_on(caller))


def _check_secrets(home: Home) -> None:
    if home.secrets.exists():
        return
    for folder in placement.data_folders(home.postgres):
        if folder.exists():
            raise SecretsLost(home.secrets, folder)


def _sandbox(home: Home, *, caller: Mapping[str, str], wishes: Wishes) -> Sandbox:
    if wishes.sandbox is not None:
        return wishes.sandbox
    return bank_used.decide(home, caller=caller, today=datetime.now(UTC).date(), advance=wishes.advance)
