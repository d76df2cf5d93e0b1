"""`python -m deploy.prepare`: everything that must be done before a part of the stack may start.

It runs at every start, and changes nothing that is as it should be: secrets are checked, roles and databases made,
Airflow's database and the warehouse migrated, pools set to what the queues declare. With `databases` as its argument it
leaves the databases empty, for a backup to be restored into.
"""

import os
import sys
from collections.abc import Mapping

from deploy import api_server, secret_rules


def main() -> None:
    """Prepare the stack; a secret that is no good ends it with a sentence, before anything is changed."""
    require_strong_secrets(os.environ)
    _ensure_databases(os.environ)
    if sys.argv[1:] != ["databases"]:
        _migrate()
        _ensure_admin(os.environ)


def require_strong_secrets(environment: Mapping[str, str]) -> None:
    """End the process with a sentence for each secret that is no good.

    Raises
    ------
    SystemExit
        If there is any.
    """
    if found := list(secret_rules.problems(environment)):
        remedy = "Mend them in .env; `make env` writes a file in which all are good, if there is none."
        sys.exit("\n".join(("Sluice does not start with these secrets:", *(f"- {fault}" for fault in found), remedy)))


def _ensure_databases(environment: Mapping[str, str]) -> None:
    from deploy import roles

    _say("Making roles and databases.")
    server = f"postgresql://postgres:{environment['POSTGRES_PASSWORD']}@{environment['POSTGRES_ADDRESS']}"
    readers = {"airflow_reader": environment["AIRFLOW_READER_PASSWORD"]}
    warehouse = roles.Database("sluice", "sluice", environment["WAREHOUSE_PASSWORD"])
    metadata = roles.Database("airflow", "airflow", environment["AIRFLOW_DB_PASSWORD"], readers)
    roles.ensure_roles_and_databases(server, (warehouse, metadata))


def _migrate() -> None:
    from deploy import metadata
    from etl.cli.migrate import migrate

    _say("Migrating Airflow's database.")
    metadata.main()
    _say("Migrating the warehouse.")
    migrate()


def _ensure_admin(environment: Mapping[str, str]) -> None:
    if environment.get(api_server.AUTH_MANAGER_VARIABLE, "").endswith(".FabAuthManager"):
        from deploy import fab_admin

        if fab_admin.create_admin(environment["ADMIN_PASSWORD"]):
            _say("The user `admin` is made, with ADMIN_PASSWORD; change the password in the web UI.")


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    main()
