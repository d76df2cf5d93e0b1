"""Environment variables of a stack: of its own programs, and of shells that read its env file."""

import os
import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from dev.servers import private_files
from dev.servers.binaries import interpreter
from dev.servers.ports import LOOPBACK
from dev.stack import airflow_environment
from dev.stack.chosen_servers import (
    BANK_VARIABLE,
    CONNECTION_PREFIX,
    CSV_VARIABLE,
    EMBEDDED_VARIABLE,
    ChosenServers,
    choose_catalog,
    choose_connections,
)
from dev.stack.home import HOME_VARIABLE, REPOSITORY, Home
from dev.stack.saved_state import Secrets
from dev.stack.urls import mail_connection, postgres_connection, provider_connection, rate_limits_connection
from etl import catalog_folder
from etl.catalog_folder import VARIABLE

BIN_FOLDER = interpreter().parent
INCLUDE_FOLDER = REPOSITORY / "include"
MAIL_CONNECTION = "AIRFLOW_CONN_SMTP_DEFAULT"
UNSUBSCRIBE_URL = "SLUICE_UNSUBSCRIBE_URL"
PROVIDER_CONNECTIONS = ("AIRFLOW_CONN_PLAID", "AIRFLOW_CONN_GOCARDLESS", "AIRFLOW_CONN_SIMPLEFIN")
"""Connections that lead to the sandbox bank unless the caller defines them."""
OVERRIDABLE_VARIABLES = (
    MAIL_CONNECTION,
    UNSUBSCRIBE_URL,
    "AIRFLOW__LOGGING__NAMESPACE_LEVELS",
    *PROVIDER_CONNECTIONS,
)
"""Variables of the stack that the caller's environment may override."""
_SETTING_PREFIXES = ("AIRFLOW_", "SLUICE_")


def inherited_settings(
    caller_environment: Mapping[str, str], *, last_start: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the settings, such as `AIRFLOW_CONN_SMTP_DEFAULT`, that the stack takes from the caller's environment.

    The connections of the last start are among them, but not that to the mail server.
    """
    connections = choose_connections(caller_environment, last_start=last_start or {})
    connections.pop(MAIL_CONNECTION, None)
    return connections | {
        name: value
        for name, value in caller_environment.items()
        if name.startswith(_SETTING_PREFIXES)
        and name != HOME_VARIABLE
        and (name == MAIL_CONNECTION or not name.startswith(CONNECTION_PREFIX))
    }


def env_file_variables(
    home: Home, *, secrets: Secrets, ports: Mapping[str, int], servers: ChosenServers, project: Path = REPOSITORY
) -> dict[str, str]:
    """Return the variables of the env file, except for search paths."""
    bank_url = f"http://{LOOPBACK}:{ports['bank']}"
    return {
        "WAREHOUSE_URL": servers.warehouse.to_string(),
        "BROKER_URL": servers.broker.to_string(),
        BANK_VARIABLE: bank_url,
        "BANK_CLIENT_ID": secrets.bank_client_id,
        "BANK_SECRET": secrets.bank_secret,
        "SLUICE_RAW_ROOT": f"file://{home.raw_folder}",
        "SLUICE_KEYS": secrets.sluice_keys,
        EMBEDDED_VARIABLE: " ".join(sorted(servers.embedded)),
        "AIRFLOW_CONN_WAREHOUSE": postgres_connection(servers.warehouse),
        # Tasks have no access to Airflow's database, except for the task that cleans it.
        "AIRFLOW_CONN_METADATA": postgres_connection(servers.metadata),
        "AIRFLOW_CONN_LIMITS": rate_limits_connection(servers.broker),
        "AIRFLOW_CONN_PLAID": provider_connection(
            bank_url, client_id=secrets.bank_client_id, secret=secrets.bank_secret
        ),
        "AIRFLOW_CONN_GOCARDLESS": provider_connection(
            f"{bank_url}/gocardless/api/v2", client_id=secrets.bank_client_id, secret=secrets.bank_secret
        ),
        # Its logins bring their own passwords.
        "AIRFLOW_CONN_SIMPLEFIN": provider_connection(f"{bank_url}/simplefin", client_id="", secret=""),
        "AIRFLOW_CONN_AIRFLOW_DB": postgres_connection(servers.metadata),
        "AIRFLOW_CONN_AIRFLOW_API": provider_connection(
            f"http://{LOOPBACK}:{ports['ui']}", client_id=airflow_environment.ADMIN, secret=secrets.admin_password
        ),
        # No server has this name (RFC 2606), but no mail of the stack is delivered either.
        UNSUBSCRIBE_URL: "https://bank.example/unsubscribe",
        MAIL_CONNECTION: mail_connection(LOOPBACK, ports["mail"]),
        "AIRFLOW_HOME": str(home.airflow_home),
        "AIRFLOW_CONFIG": str(home.airflow_configuration),
        **airflow_environment.to_environment(
            airflow_environment.SETTINGS,
            airflow_environment.folder_settings(home, project),
            airflow_environment.server_settings(ports, servers),
            airflow_environment.secret_settings(secrets),
        ),
    }


def for_shell(variables: Mapping[str, str], caller_environment: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment after reading an env file with these variables."""
    return {
        **caller_environment,
        **variables,
        "PATH": f"{BIN_FOLDER}:{caller_environment.get('PATH', os.defpath)}",
        "PYTHONPATH": _python_path(caller_environment.get("PYTHONPATH", ""), include=_include_folder(variables)),
    }


def for_programs(variables: Mapping[str, str], *, caller_environment: Mapping[str, str], home: Home) -> dict[str, str]:
    """Return the environment of the stack's own programs, without `CSV_VARIABLE`: the bank gets its file as an option.

    Parameters
    ----------
    variables
        Variables of the env file; they override the caller's.
    caller_environment
        The caller's environment.
    home
        Home of the programs.
    """
    no_proxy = ",".join(
        filter(None, (caller_environment.get("NO_PROXY") or caller_environment.get("no_proxy"), LOOPBACK, "localhost"))
    )
    shell = for_shell(variables, caller_environment)
    shell.pop(CSV_VARIABLE, None)
    return {
        **shell,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        # Airflow records the name of the user who runs a task, and in some containers that user has none.
        "USER": caller_environment.get("USER", "sluice"),
        HOME_VARIABLE: str(home.folder),
        # A process title would overwrite the environment, by which orphaned programs are recognised.
        "SPT_NOENV": "1",
    }


def use_catalog(home: Home) -> None:
    """Let this process use the catalogue of a home, as the home's programs do: it makes their worker groups and pools.

    Raises
    ------
    DeclarationError
        If that folder cannot be used.
    """
    os.environ[VARIABLE] = choose_catalog(os.environ, last_start=read_env_file(home.env_file))
    catalog_folder.find().require_usable()


def render_env_file(variables: Mapping[str, str], *, psql: Path) -> str:
    """Return the env file, for sh, bash and zsh; reading it again changes nothing.

    Parameters
    ----------
    variables
        Variables that it sets.
    psql
        Folder of the Postgres client programs, appended to the search path.
    """
    first, last, include = (shlex.quote(str(path)) for path in (BIN_FOLDER, psql, _include_folder(variables)))
    paths = (
        f'case "$PATH" in {first}:*) ;; *) PATH={first}:"$PATH" ;; esac',
        f'case "$PATH" in *:{last}) ;; *) PATH="$PATH":{last} ;; esac',
        f'case "${{PYTHONPATH:-}}:" in {include}:*) ;; *) PYTHONPATH={include}"${{PYTHONPATH:+:$PYTHONPATH}}" ;; esac',
        "export PATH PYTHONPATH",
    )
    warnings = [_catalog_warning(variables[VARIABLE])] if VARIABLE in variables else []
    exports = (f"export {name}='{_quote(value)}'" for name, value in variables.items())
    return "\n".join(("# Read by `. env`; written by `python -m dev.stack up`.", *paths, *warnings, *exports, ""))


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables that an env file sets, except for search paths; empty if there is no such file."""
    words = shlex.split(private_files.read(path) or "", comments=True)
    exports = (word for export, word in pairwise(words) if export == "export")
    return {name: value for name, equals, value in (word.partition("=") for word in exports) if equals}


def _catalog_warning(folder: str) -> str:
    """Return the line that tells a shell that it no longer uses the catalogue that it named."""
    return (
        f"""[ -z "${{{VARIABLE}+set}}" ] || [ "${VARIABLE}" = '{_quote(folder)}' ] || """
        f'echo "warning: the stack has another catalogue than {VARIABLE}=${VARIABLE}, and so has this shell now; '
        'export yours again and run python -m dev.stack up to change that" >&2'
    )


def _include_folder(variables: Mapping[str, str]) -> Path:
    """Return the folder of the steps: that beside the plugins."""
    plugins = variables.get("AIRFLOW__CORE__PLUGINS_FOLDER")
    return Path(plugins).parent / "include" if plugins else INCLUDE_FOLDER


def _python_path(inherited: str, *, include: Path) -> str:
    parts = [part for part in inherited.split(":") if part and part != str(include)]
    return ":".join((str(include), *parts))


def _quote(value: str) -> str:
    return value.replace("'", "'\"'\"'")
