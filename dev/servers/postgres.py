"""The embedded Postgres: what is where, and the command that runs it."""

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
    # Shared memory in files, since containers often have next to no /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # A crash of the machine may lose the last instants, never consistency.
    "synchronous_commit": "off",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %d ",
}
"""Server settings of a stack that keeps its data."""

THROWAWAY_SETTINGS: Mapping[str, str] = {
    **SETTINGS,
    "shared_buffers": "32MB",
    "fsync": "off",
    "full_page_writes": "off",
}
"""Server settings of a stack whose data may be lost with the machine: tests."""


@dataclass(frozen=True)
class Cluster:
    """A Postgres installation, its data, and the way both are run.

    Parameters
    ----------
    installation
        Folder with `bin`, `lib` and `share`.
    data
        Data folder; it may not exist yet.
    privileges
        How the programs are run.
    account
        The account used by any way but `DIRECT`.
    """

    installation: Path
    data: Path
    privileges: Privileges
    account: Account | None = None

    @property
    def partial_data(self) -> Path:
        """Where the data is made before it is moved to its place."""
        return self.data.with_name(f"{self.data.name}.half")

    @property
    def owner(self) -> Account | None:
        """Who must own the data, None if it is the caller."""
        return self.account if self.privileges is Privileges.DROPPED else None

    def command(self, program: str, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs one of the installation's programs; it keeps its process id."""
        before = namespace_command(self.account) if self._in_namespace and self.account else ()
        return (*before, str(self.installation / "bin" / program), *arguments)

    @property
    def _in_namespace(self) -> bool:
        return self.privileges is Privileges.NAMESPACE


def server_arguments(data: Path, *, port: int, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the arguments of `postgres`: loopback only, and no unix socket, whose path would have to be short."""
    fixed = {"listen_addresses": LOOPBACK, "port": str(port), "unix_socket_directories": ""}
    flags = (part for name, value in {**settings, **fixed}.items() for part in ("-c", f"{name}={value}"))
    return ("-D", str(data), *flags)
