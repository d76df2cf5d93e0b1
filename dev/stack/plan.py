"""The plan of a stack: secrets, ports, servers and settings, from which its files and programs are derived."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from dev.servers import bank, placement, private_files, valkey
from dev.servers.bank import Sandbox
from dev.servers.binaries import postgres_folder, valkey_server
from dev.servers.errors import SecretsLost
from dev.servers.ports import UI_PORT
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
from dev.stack.home import REPOSITORY, Home
from dev.stack.programs import Program
from dev.stack.saved_state import Secrets
from dev.stack.shell_environment import OVERRIDABLE_VARIABLES
from etl.catalog_folder import VARIABLE
from etl.declare import fault


@dataclass(frozen=True)
class Plan:
    """The plan of a stack.

    Parameters
    ----------
    home
        Home of the stack.
    secrets
        Passwords and keys.
    ports
        Name → loopback port.
    servers
        Embedded servers, or those that the caller named.
    cluster
        The embedded Postgres; None if the caller named another.
    postgres_settings
        Settings of the embedded Postgres.
    sandbox
        State of the sandbox bank.
    inherited_settings
        Settings from the caller's environment; those of the stack override them.
    project
        Folder with the `dags`, `plugins` and `include` to run.
    watches
        Whether edited steps and plugins are reloaded.
    """

    home: Home
    secrets: Secrets = field(repr=False)
    ports: Mapping[str, int]
    servers: ChosenServers
    cluster: Cluster | None
    postgres_settings: Mapping[str, str]
    sandbox: Sandbox
    inherited_settings: Mapping[str, str] = field(repr=False)
    project: Path = REPOSITORY
    watches: bool = False

    @property
    def env_file_variables(self) -> dict[str, str]:
        """Variables of the env file."""
        own = shell_environment.env_file_variables(
            self.home, secrets=self.secrets, ports=self.ports, servers=self.servers, project=self.project
        )
        # The caller may choose another mail server, another address of unsubscribe links, and real providers.
        own |= {
            name: self.inherited_settings[name] for name in OVERRIDABLE_VARIABLES if name in self.inherited_settings
        }
        return own | {name: value for name, value in sorted(self.inherited_settings.items()) if name not in own}

    @property
    def programs(self) -> list[Program]:
        """Programs of the supervisor, in the order of their start."""
        with fault.explained():
            from etl.catalog.queues import QUEUES, WORKER_GROUPS

        ports = self.ports
        planned = [
            programs.sandbox_bank(self.sandbox, port=ports["bank"]),
            programs.mail_server(self.home, port=ports["mail"]),
            *programs.airflow(self.home, WORKER_GROUPS, QUEUES, log_port=ports["logs"]),
        ]
        if self.watches:
            planned.append(programs.watcher(self.home))
        if self.servers.broker_is_embedded:
            planned.append(programs.valkey(self.home, valkey_server()))
        if self.cluster is not None:
            planned.append(
                programs.postgres(self.home, self.cluster, port=ports["postgres"], settings=self.postgres_settings)
            )
        return sorted(planned, key=lambda program: program.stage.value)

    @property
    def files(self) -> dict[Path, str]:
        """The files to write: path → contents."""
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
        """Return whether all `files` are written already."""
        return all(private_files.read(path) == text for path, text in self.files.items())

    def write(self) -> None:
        """Write the files."""
        for path, text in self.files.items():
            private_files.write(path, text)


@dataclass(frozen=True)
class StackOptions:
    """Options of a start.

    Parameters
    ----------
    sandbox
        State of the sandbox bank; None for that of the last start, or what the caller's environment names.
    advance_days
        Days by which the bank of an earlier start is advanced.
    postgres_settings
        Settings of the embedded Postgres.
    privileges
        Privileges with which the embedded Postgres runs; None for the best that work on this machine.
    ui_port
        Port of the web UI at the first start, if it is free; None for any.
    project
        Folder with the `dags`, `plugins` and `include` to run.
    watches
        Whether edited steps and plugins are reloaded.
    """

    sandbox: Sandbox | None = None
    advance_days: int = 0
    postgres_settings: Mapping[str, str] = field(default_factory=lambda: SETTINGS)
    privileges: Privileges | None = None
    ui_port: int | None = UI_PORT
    project: Path = REPOSITORY
    watches: bool = False


def plan_running(
    home: Home, *, caller_environment: Mapping[str, str], options: StackOptions, say: Callable[[str], None]
) -> Plan:
    """Return the plan of a running stack for these options, with the ports that it uses."""
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
    """Return the plan of a new start; choose and save its ports and its bank."""
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
    last_start = shell_environment.read_env_file(home.env_file)
    servers = chosen_servers.choose_servers(caller_environment, secrets=secrets, ports=ports, last_start=last_start)
    catalog = chosen_servers.choose_catalog(caller_environment, last_start=last_start)
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
        shell_environment.inherited_settings(caller_environment, last_start=last_start) | {VARIABLE: catalog},
        options.project,
        options.watches,
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
