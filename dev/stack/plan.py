"""What a stack is to be: everything that its files and programs follow from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.servers import private_files, valkey
from dev.servers.bank import Sandbox
from dev.servers.binaries import postgres_folder, valkey_server
from dev.servers.postgres import Cluster
from dev.stack import airflow_environment, environment, programs, supervisor_file
from dev.stack.environment import CALLERS_CHOICE
from dev.stack.home import Home
from dev.stack.programs import Program
from dev.stack.secrets_file import Secrets
from dev.stack.servers_used import ServersUsed
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
        own = environment.variables(self.home, secrets=self.secrets, ports=self.ports, servers=self.servers)
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
            home.environment: environment.render(self.variables, psql=postgres_folder() / "bin"),
            home.supervisor: supervisor_file.render(
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
