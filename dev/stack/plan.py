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
from dev.stack.chosen_servers import ChosenServers
from dev.stack.home import Home
from dev.stack.programs import Program
from dev.stack.saved_state import Secrets
from dev.stack.shell_environment import OVERRIDABLE_VARIABLES
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
    postgres_settings
        Of the embedded Postgres.
    sandbox
        What the bank serves.
    inherited_settings
        Settings of the caller's own; the stack's go before them.
    """

    home: Home
    secrets: Secrets = field(repr=False)
    ports: Mapping[str, int]
    servers: ChosenServers
    cluster: Cluster | None
    postgres_settings: Mapping[str, str]
    sandbox: Sandbox
    inherited_settings: Mapping[str, str] = field(repr=False)

    @property
    def env_file_variables(self) -> dict[str, str]:
        """What the env file sets."""
        own = shell_environment.env_file_variables(
            self.home, secrets=self.secrets, ports=self.ports, servers=self.servers
        )
        # A mail server that the caller names is meant, and so is where links lead.
        own |= {
            name: self.inherited_settings[name] for name in OVERRIDABLE_VARIABLES if name in self.inherited_settings
        }
        return own | {name: value for name, value in sorted(self.inherited_settings.items()) if name not in own}

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
            planned.append(
                programs.postgres(self.home, self.cluster, port=ports["postgres"], settings=self.postgres_settings)
            )
        return sorted(planned, key=lambda program: program.stage.value)

    @property
    def files(self) -> dict[Path, str]:
        """The files that follow from it, and what they hold."""
        home, ports, secrets = self.home, self.ports, self.secrets
        return {
            home.env_file: shell_environment.render_env_file(self.env_file_variables, psql=postgres_folder() / "bin"),
            home.supervisor_configuration: supervisor.render_configuration(
                home, self.programs, port=ports["supervisor"], password=secrets.supervisor_password, uid=os.geteuid()
            ),
            home.valkey_configuration: valkey.render_configuration(
                port=ports["valkey"], password=secrets.valkey_password, folder=home.valkey_folder
            ),
            home.airflow_configuration: "# Empty: every setting is in the environment, and Airflow would fill it.\n",
            home.passwords_file: airflow_environment.render_password_file(secrets),
        }

    def is_written(self) -> bool:
        """Tell whether the files say so already."""
        return all(private_files.read(path) == text for path, text in self.files.items())

    def write(self) -> None:
        """Write the files."""
        for path, text in self.files.items():
            private_files.write(path, text)


@dataclass(frozen=True)
class StackOptions:
    """What the caller of a start may choose.

    Parameters
    ----------
    sandbox
        What the bank serves; None for what it served at the last start, or what the caller's environment names.
    advance_days
        Days that pass at a bank of an earlier start.
    postgres_settings
        Of the embedded Postgres.
    privileges
        How the embedded Postgres is run; None for the best way that works here.
    ui_port
        Port that the web UI has at the first start, if it is free; None for any.
    """

    sandbox: Sandbox | None = None
    advance_days: int = 0
    postgres_settings: Mapping[str, str] = field(default_factory=lambda: SETTINGS)
    privileges: Privileges | None = None
    ui_port: int | None = 8080


def plan_running(
    home: Home, *, caller_environment: Mapping[str, str], options: StackOptions, say: Callable[[str], None]
) -> Plan:
    """Return the plan that a running stack should have been started with; its ports stay."""
    sandbox = _choose_sandbox(home, caller_environment=caller_environment, options=options)
    return _build_plan(
        home,
        saved_state.load_ports(home.ports_file),
        sandbox,
        caller_environment=caller_environment,
        options=options,
        say=say,
    )


def plan_start(
    home: Home, *, caller_environment: Mapping[str, str], options: StackOptions, say: Callable[[str], None]
) -> Plan:
    """Return the plan of a stack that is to be started; settles ports and the bank."""
    sandbox = _choose_sandbox(home, caller_environment=caller_environment, options=options)
    bank.save(home.bank_file, sandbox)
    return _build_plan(
        home,
        saved_state.choose_ports(home.ports_file, ui_port=options.ui_port, say=say),
        sandbox,
        caller_environment=caller_environment,
        options=options,
        say=say,
    )


def _build_plan(
    home: Home,
    ports: Mapping[str, int],
    sandbox: Sandbox,
    *,
    caller_environment: Mapping[str, str],
    options: StackOptions,
    say: Callable[[str], None],
) -> Plan:
    _check_secrets(home)
    secrets = saved_state.load_secrets(home.secrets_file)
    servers = chosen_servers.choose_servers(caller_environment, secrets=secrets, ports=ports)
    cluster = None
    if servers.warehouse_is_embedded:
        cluster = placement.place_cluster(
            home.postgres_paths, postgres_folder(), privileges=options.privileges, say=say
        )
    return Plan(
        home,
        secrets,
        ports,
        servers,
        cluster,
        options.postgres_settings,
        sandbox,
        shell_environment.inherited_settings(caller_environment),
    )


def _check_secrets(home: Home) -> None:
    if home.secrets_file.exists():
        return
    for folder in placement.data_folders(home.postgres_paths):
        if folder.exists():
            raise SecretsLost(home.secrets_file, folder)


def _choose_sandbox(home: Home, *, caller_environment: Mapping[str, str], options: StackOptions) -> Sandbox:
    if options.sandbox is not None:
        return options.sandbox
    return chosen_servers.choose_bank(
        home, caller_environment=caller_environment, today=datetime.now(UTC).date(), advance_days=options.advance_days
    )
