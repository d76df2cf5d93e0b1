"""What a stack is to be: everything that its files and programs follow from."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from dev.servers import bank, placement, private_files, valkey
from dev.servers.bank import Sandbox
from dev.servers.binaries import postgres_folder, valkey_server
from dev.servers.errors import SecretsLost
from dev.servers.postgres import SETTINGS, Cluster
from dev.servers.privileges import Privileges
from dev.stack import (
    airflow_environment,
    chosen_servers,
    programs,
    saved_state,
    shell_environment,
    supervisor,
)
from dev.stack.chosen_servers import ServersUsed
from dev.stack.home import Home
from dev.stack.programs import Program
from dev.stack.saved_state import Secrets
from dev.stack.shell_environment import CALLERS_CHOICE
from etl.catalog.queues import QUEUES, WORKER_GROUPS


@dataclass(frozen=True)
class Plan:
    """A stack to be.

    Parameters
    ----------
    home
        Where it keeps its files.
    secrets
        Passwords and keys.
    ports
        Name → loopback port.
    servers
        Its own servers, or those that the caller named.
    cluster
        The embedded Postgres, None if the caller named another.
    settings
        Of the embedded Postgres.
    sandbox
        What the bank serves.
    passed_on
        Settings of the caller's own; the stack's go before them.
    """

    home: Home
    secrets: Secrets = field(repr=False)
    ports: Mapping[str, int]
    servers: ServersUsed
    cluster: Cluster | None
    settings: Mapping[str, str]
    sandbox: Sandbox
    passed_on: Mapping[str, str] = field(repr=False)

    @property
    def variables(self) -> dict[str, str]:
        """What the env file sets."""
        own = shell_environment.variables(self.home, secrets=self.secrets, ports=self.ports, servers=self.servers)
        # A mail server that the caller names is meant, and so is where links lead.
        own |= {name: self.passed_on[name] for name in CALLERS_CHOICE if name in self.passed_on}
        return own | {name: value for name, value in sorted(self.passed_on.items()) if name not in own}

    @property
    def programs(self) -> list[Program]:
        """What is supervised, in the order in which it starts."""
        ports = self.ports
        planned = [
            programs.sandbox_bank(self.sandbox, port=ports["bank"]),
            programs.mail_server(self.home, port=ports["mail"]),
            *programs.airflow(self.home, WORKER_GROUPS, QUEUES, log_port=ports["logs"]),
        ]
        if self.servers.broker_is_embedded:
            planned.append(programs.valkey(self.home, valkey_server()))
        if self.cluster is not None:
            planned.append(programs.postgres(self.home, self.cluster, port=ports["postgres"], settings=self.settings))
        return sorted(planned, key=lambda program: program.stage.value)

    @property
    def files(self) -> dict[Path, str]:
        """The files that follow from it, and what they hold."""
        home, ports, secrets = self.home, self.ports, self.secrets
        return {
            home.environment: shell_environment.render(self.variables, psql=postgres_folder() / "bin"),
            home.supervisor: supervisor.render(
                home, self.programs, port=ports["supervisor"], password=secrets.supervisor_password, uid=os.geteuid()
            ),
            home.valkey_configuration: valkey.configuration(
                port=ports["valkey"], password=secrets.valkey_password, folder=home.valkey
            ),
            home.airflow_configuration: "# Empty: every setting is in the environment, and Airflow would fill it.\n",
            home.passwords: airflow_environment.passwords(secrets),
        }

    def is_written(self) -> bool:
        """Tell whether the files say so already."""
        return all(private_files.read(path) == text for path, text in self.files.items())

    def write(self) -> None:
        """Write the files."""
        for path, text in self.files.items():
            private_files.write(path, text)


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
    return _plan(home, saved_state.load_ports(home.ports), sandbox, caller=caller, wishes=wishes, say=say)


def of_start(home: Home, *, caller: Mapping[str, str], wishes: Wishes, say: Callable[[str], None]) -> Plan:
    """Return the plan of a stack that is to be started; settles ports and the bank."""
    sandbox = _sandbox(home, caller=caller, wishes=wishes)
    bank.remember(home.bank, sandbox)
    return _plan(
        home,
        saved_state.choose_ports(home.ports, ui=wishes.ui, say=say),
        sandbox,
        caller=caller,
        wishes=wishes,
        say=say,
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
    secrets = saved_state.load_secrets(home.secrets)
    servers = chosen_servers.choose_servers(caller, secrets=secrets, ports=ports)
    cluster = None
    if servers.warehouse_is_embedded:
        cluster = placement.place(home.postgres, postgres_folder(), privileges=wishes.privileges, say=say)
    return Plan(home, secrets, ports, servers, cluster, wishes.settings, sandbox, shell_environment.passed_on(caller))


def _check_secrets(home: Home) -> None:
    if home.secrets.exists():
        return
    for folder in placement.data_folders(home.postgres):
        if folder.exists():
            raise SecretsLost(home.secrets, folder)


def _sandbox(home: Home, *, caller: Mapping[str, str], wishes: Wishes) -> Sandbox:
    if wishes.sandbox is not None:
        return wishes.sandbox
    return chosen_servers.choose_bank(home, caller=caller, today=datetime.now(UTC).date(), advance=wishes.advance)
