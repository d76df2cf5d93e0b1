"""Everything that a stack keeps, under one folder."""

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
"""Environment variable that every process of a stack carries, and no shell: it names the home."""

FORBIDDEN_IN_PATHS = ("%", " #", " ;", "\n", "\r", "\t")
"""What the supervisor's configuration has no way to write."""


@dataclass(frozen=True)
class Home:
    """The files of one stack.

    Parameters
    ----------
    folder
        Absolute, without symbolic links.
    """

    folder: Path

    @property
    def lock_file(self) -> Path:
        """Held while the stack is being started or stopped."""
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
        """What the sandbox bank was last started with."""
        return self.folder / "bank.json"

    @property
    def env_file(self) -> Path:
        """Shell file that gives any shell the stack's environment."""
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
        """What Valkey keeps."""
        return self.folder / "valkey"

    @property
    def raw_folder(self) -> Path:
        """Raw store."""
        return self.folder / "raw"

    @property
    def mails_folder(self) -> Path:
        """Mails that the stack sent, instead of their recipients."""
        return self.folder / "mails"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.folder / "airflow"

    @property
    def airflow_configuration(self) -> Path:
        """Airflow's configuration file; empty, since the environment holds every setting."""
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
        """A short name that no other home has."""
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
        If it belongs to another user or to another purpose, or has a name that configuration files cannot hold.
    """
    home = folder.expanduser().resolve()
    for path in (home, REPOSITORY):
        if any(text in str(path) for text in FORBIDDEN_IN_PATHS):
            raise HomeRefused(path, "its name holds a `%`, a line break, a tab, or a blank before `#` or `;`")
    try:
        owner = home.stat().st_uid if home.exists() else os.geteuid()
    except PermissionError:
        raise HomeRefused(home, "you may not look into it") from None
    if owner != os.geteuid():
        raise HomeRefused(home, f"it belongs to user {owner}, and you are user {os.geteuid()}")
    found = Home(home)
    # It is closed to others, which would be a nuisance for, say, /tmp. The lock is the first file in it.
    if home.exists() and any(home.iterdir()) and not found.lock_file.exists():
        raise HomeRefused(home, "it is no stack's home, and not empty")
    return found


def create(home: Home) -> None:
    """Make the folders of a home, closed to others.

    Raises
    ------
    HomeRefused
        If that is not possible there.
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
        raise HomeRefused(home.folder, f"it cannot be made: {error.strerror}") from None
