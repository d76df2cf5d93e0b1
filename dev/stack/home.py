"""The home of a stack: one folder that holds all its files."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from dev.servers import private_files
from dev.servers.errors import HomeRefused
from dev.servers.placement import PostgresPaths

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_HOME = REPOSITORY / ".local"
HOME_VARIABLE = "SLUICE_STACK_HOME"
"""Environment variable with the path of the home; set for every process of a stack, and in no shell."""

FORBIDDEN_IN_PATHS = ("%", " #", " ;", "\n", "\r", "\t")
"""Texts that the supervisor's configuration file cannot hold."""


@dataclass(frozen=True)
class Home:
    """The files of one stack.

    Parameters
    ----------
    folder
        Absolute path without symbolic links.
    """

    folder: Path

    @property
    def lock_file(self) -> Path:
        """Lock that is held while the stack is started or stopped."""
        return self.folder / "lock"

    @property
    def secrets_file(self) -> Path:
        """Passwords and keys."""
        return self.folder / "secrets.json"

    @property
    def ports_file(self) -> Path:
        """Ports of the last start."""
        return self.folder / "ports.json"

    @property
    def bank_file(self) -> Path:
        """State with which the sandbox bank was last started."""
        return self.folder / "bank.json"

    @property
    def env_file(self) -> Path:
        """Shell file that sets the stack's environment in any shell."""
        return self.folder / "env"

    @property
    def supervisor_configuration(self) -> Path:
        """Configuration of the supervisor."""
        return self.folder / "supervisord.conf"

    @property
    def supervisor_pid_file(self) -> Path:
        """Process id of the supervisor."""
        return self.folder / "supervisord.pid"

    @property
    def valkey_configuration(self) -> Path:
        """Configuration of Valkey."""
        return self.folder / "valkey.conf"

    @property
    def valkey_folder(self) -> Path:
        """Data of Valkey."""
        return self.folder / "valkey"

    @property
    def raw_folder(self) -> Path:
        """The raw store."""
        return self.folder / "raw"

    @property
    def mails_folder(self) -> Path:
        """Mails that the stack sent; its mail server stores them instead of delivering them."""
        return self.folder / "mails"

    @property
    def airflow_home(self) -> Path:
        """The folder `AIRFLOW_HOME`."""
        return self.folder / "airflow"

    @property
    def airflow_configuration(self) -> Path:
        """Airflow's configuration file; it has no settings, since all are in the environment."""
        return self.airflow_home / "airflow.cfg"

    @property
    def passwords_file(self) -> Path:
        """Passwords of the web UI."""
        return self.airflow_home / "passwords.json"

    @property
    def logs_folder(self) -> Path:
        """Logs of the programs."""
        return self.folder / "logs"

    @property
    def tag(self) -> str:
        """A short name that is unique to this home."""
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    def log_file(self, program: str) -> Path:
        """Return the log of a program."""
        return self.logs_folder / f"{program}.log"

    @property
    def postgres_paths(self) -> PostgresPaths:
        """The folders that Postgres may use."""
        return PostgresPaths(self.folder / "postgres", self.folder / "postgres.json")


def find(folder: Path) -> Home:
    """Return the home in a folder, which may not exist.

    Raises
    ------
    HomeRefused
        If it belongs to another user, holds other files, or has a name that configuration files cannot hold.
    """
    path = folder.expanduser().resolve()
    for configured in (path, REPOSITORY):
        if any(text in str(configured) for text in FORBIDDEN_IN_PATHS):
            raise HomeRefused(configured, "its name holds a `%`, a line break, a tab, or a blank before `#` or `;`")
    try:
        owner = path.stat().st_uid if path.exists() else os.geteuid()
    except PermissionError:
        raise HomeRefused(path, "you may not read it") from None
    if owner != os.geteuid():
        raise HomeRefused(path, f"it belongs to user {owner}, and you are user {os.geteuid()}")
    home = Home(path)
    # A home is closed to other users, which would harm a folder such as /tmp. The lock is the first file of every home.
    if path.exists() and any(path.iterdir()) and not home.lock_file.exists():
        raise HomeRefused(path, "it is not the home of a stack, and not empty")
    return home


def create(home: Home) -> None:
    """Create the folders of a home, accessible to their owner only.

    Raises
    ------
    HomeRefused
        If a folder cannot be created.
    """
    try:
        private_files.make_folder(home.folder)
        home.lock_file.touch(mode=0o600)
        for folder in (
            home.postgres_paths.folder,
            home.valkey_folder,
            home.raw_folder,
            home.mails_folder,
            home.airflow_home,
            home.logs_folder,
        ):
            private_files.make_folder(folder)
    except OSError as error:
        raise HomeRefused(home.folder, f"it cannot be created: {error.strerror}") from None
