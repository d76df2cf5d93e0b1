"""`python -m deploy.api_server`: replace this process by Airflow's API server.

Airflow's simple auth manager reads passwords from a file that it must be able to write. This module writes that file at
each start, from the setting `ADMIN_PASSWORD`. Other auth managers store their own users.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

ADMIN = "admin"
PASSWORDS_FILE_VARIABLE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
AUTH_MANAGER_VARIABLE = "AIRFLOW__CORE__AUTH_MANAGER"

_WARNING = (
    "Airflow's simple auth manager is in use: it has one user, whose password is in plain text in .env. Let only "
    "people whom you trust reach the web UI, or set AUTH_MANAGER as described in docs/deploy.md."
)


def uses_simple_auth(environment: Mapping[str, str]) -> bool:
    """Return whether Airflow uses its simple auth manager."""
    return environment.get(AUTH_MANAGER_VARIABLE, "SimpleAuthManager").endswith("SimpleAuthManager")


def write_passwords(path: Path, password: str) -> None:
    """Write the password file of the simple auth manager, readable by its owner only."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps({ADMIN: password}) + "\n")


def main() -> None:
    """Replace this process by the API server, whose environment no longer holds the password."""
    password = os.environ.pop("ADMIN_PASSWORD", "")
    if uses_simple_auth(os.environ):
        if not password:
            sys.exit("ADMIN_PASSWORD is not set, so nobody could log in; `make env` generates one.")
        write_passwords(Path(os.environ[PASSWORDS_FILE_VARIABLE]), password)
        sys.stderr.write(f"warning: {_WARNING}\n")
    os.execvp("airflow", ("airflow", "api-server"))  # noqa: S606 - needs no shell; `airflow` is on the image's PATH


if __name__ == "__main__":
    main()
