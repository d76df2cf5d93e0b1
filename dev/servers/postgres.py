"""The embedded Postgres: its settings, its folders and its commands."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.servers.ports import LOOPBACK
from dev.servers.privileges import Account, Privileges, namespace_command

SUPERUSER = "sluice"
ENCODING = "UTF8"

SETTINGS: Mapping[str, str] = {
    "max_connections": "300",
    "shared_buffers": "256MB",
    # Shared memory in files, since containers often have hardly any /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # A crash of the machine may lose the last transactions, but not consistency.
    "synchronous_commit": "off",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %d ",
    # An error quotes values of the row that it is about; whoever ran the statement is told of it, without them.
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
}
"""Server settings of a stack that keeps its data."""

THROWAWAY_SETTINGS: Mapping[str, str] = {
    **SETTINGS,
    "shared_buffers": "32MB",
    "fsync": "off",
    "full_page_writes": "off",
}
"""Server settings of a stack whose data may be lost if the machine crashes, as in tests."""


@dataclass(frozen=True)
class Cluster:
    """A Postgres installation, its data, and how it is run.

    Parameters
    ----------
    installation
        Folder with `bin`, `lib` and `share`.
    data
        Data folder; it may not exist yet.
    privileges
        How the programs are run.
    account
        The account for every way but `DIRECT`.
    """

    installation: Path
    data: Path
    privileges: Privileges
    account: Account | None = None

    @property
    def partial_data(self) -> Path:
        """Folder in which the data is created before it is moved to `data`."""
        return self.data.with_name(f"{self.data.name}.half")

    @property
    def owner(self) -> Account | None:
        """Account that must own the data; None for the caller."""
        return self.account if self.privileges is Privileges.DROPPED else None

    def command(self, program: str, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs one of the installation's programs, under the process id of the command."""
        prefix = namespace_command(self.account) if self._in_namespace and self.account else ()
        return (*prefix, str(self.installation / "bin" / program), *arguments)

    @property
    def _in_namespace(self) -> bool:
        return self.privileges is Privileges.NAMESPACE


def server_arguments(data: Path, *, port: int, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the arguments of `postgres`: loopback only, and no Unix socket, since its path must be short."""
    fixed = {"listen_addresses": LOOPBACK, "port": str(port), "unix_socket_directories": ""}
    flags = (part for name, value in {**settings, **fixed}.items() for part in ("-c", f"{name}={value}"))
    return ("-D", str(data), *flags)
