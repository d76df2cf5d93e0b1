"""`python -m deploy.api_server`: become Airflow's API server.

Airflow's simple auth manager keeps its passwords in a file that it must be able to write. Here that file is made at
each start, from the setting `ADMIN_PASSWORD`; other auth managers have users of their own.
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
    "Logins are those of Airflow's simple auth manager: one user, whose password lies readable in .env. Let only "
    "people whom you trust reach the web UI, or set AUTH_MANAGER, as docs/deploy.md says."
)


def uses_simple_auth(environment: Mapping[str, str]) -> bool:
    """Tell whether logins are those of Airflow's simple auth manager."""
    return environment.get(AUTH_MANAGER_VARIABLE, "SimpleAuthManager").endswith("SimpleAuthManager")


def write_passwords(path: Path, password: str) -> None:
    """Write the file of the simple auth manager, readable by its owner only."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps({ADMIN: password}) + "\n")


def main() -> None:
    """Start the API server in place of this process; it needs the password no more."""
    password = os.environ.pop("ADMIN_PASSWORD", "")
    if uses_simple_auth(os.environ):
        if not password:
            sys.exit("ADMIN_PASSWORD is not set, so nobody could log in; `make env` makes one.")
        write_passwords(Path(os.environ[PASSWORDS_FILE_VARIABLE]), password)
        sys.stderr.write(f"warning: {_WARNING}\n")
    os.execvp("airflow", ("airflow", "api-server"))  # noqa: S606 - no shell is wanted; found in the image


if __name__ == "__main__":
    main()
