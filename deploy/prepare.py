"""`python -m deploy.prepare`: prepare the stack before its other services start.

It runs at every start, and is idempotent: it checks secrets, creates roles and databases, migrates the warehouse and
Airflow's database, and sets pools to the slots that the queues declare. With the argument `databases` it stops after
creating empty databases, into which a backup can be restored.
"""

import os
import sys
from collections.abc import Mapping

from deploy import api_server, secret_rules
from etl.errors import SluiceError


def main() -> None:
    """Prepare the stack; exit with a message if a secret is invalid, before anything is changed."""
    require_strong_secrets(os.environ)
    _ensure_databases(os.environ)
    if sys.argv[1:] != ["databases"]:
        try:
            _migrate()
        except SluiceError as error:
            sys.exit(f"error: {error}")
        _ensure_admin(os.environ)


def require_strong_secrets(environment: Mapping[str, str]) -> None:
    """Exit with a message for each invalid secret.

    Raises
    ------
    SystemExit
        If a secret is invalid.
    """
    if problems := list(secret_rules.problems(environment)):
        remedy = "Fix them in .env; if you have no .env yet, `make env` writes one with valid secrets."
        lines = ("Sluice does not start with these secrets:", *(f"- {problem}" for problem in problems), remedy)
        sys.exit("\n".join(lines))


def _ensure_databases(environment: Mapping[str, str]) -> None:
    from deploy import roles

    _print("Creating roles and databases.")
    server = f"postgresql://postgres:{environment['POSTGRES_PASSWORD']}@{environment['POSTGRES_ADDRESS']}"
    readers = {"airflow_reader": environment["AIRFLOW_READER_PASSWORD"]}
    warehouse = roles.Database("sluice", "sluice", environment["WAREHOUSE_PASSWORD"])
    metadata = roles.Database("airflow", "airflow", environment["AIRFLOW_DB_PASSWORD"], readers)
    roles.ensure_roles_and_databases(server, (warehouse, metadata))


def _migrate() -> None:
    from etl.cli.app import warn_of_faults
    from etl.cli.migrate import migrate
    from etl.declare.fault import explained

    # First, since it says in one sentence what is wrong with the catalogue, which Airflow imports, too.
    _print("Migrating the warehouse.")
    warn_of_faults()
    migrate()
    _print("Migrating Airflow's database.")
    with explained():
        from deploy import metadata

        metadata.main()


def _ensure_admin(environment: Mapping[str, str]) -> None:
    if environment.get(api_server.AUTH_MANAGER_VARIABLE, "").endswith(".FabAuthManager"):
        from deploy import fab_admin

        if fab_admin.create_admin(environment["ADMIN_PASSWORD"]):
            _print("Created the user `admin` with ADMIN_PASSWORD; change the password in the web UI.")


def _print(message: str) -> None:
    print(message, flush=True)


if __name__ == "__main__":
    main()
