import json
import subprocess
from pathlib import Path

from dev.stack import shell_environment
from dev.stack.home import HOME_VARIABLE, REPOSITORY, Home
from tests.unit.stack.samples import PORTS, SECRETS, make_plan


def read_by_sh(env_file: Path, expression: str, before: str = "") -> str:
    result = subprocess.run(
        ["/bin/sh", "-euc", f'. "$0"; {before} printf %s "{expression}"', env_file],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


def test_env_file_sets_its_variables_in_sh(tmp_path: Path) -> None:
    variables = {"PLAIN": "a", "HARD": 'it\'s "$HOME" `x` \\ \n é', "EMPTY": ""}
    env_file = tmp_path / "env"
    env_file.write_text(shell_environment.render_env_file(variables, psql=Path("/opt/pg/bin")))
    assert {name: read_by_sh(env_file, f"${name}") for name in variables} == variables


def test_reading_the_env_file_again_changes_no_search_path(tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text(shell_environment.render_env_file({}, psql=Path("/opt/pg/bin")))
    once = read_by_sh(env_file, "$PATH|$PYTHONPATH")
    assert once == f"{shell_environment.BIN_FOLDER}:/usr/bin:/bin:/opt/pg/bin|{REPOSITORY}/include"
    assert read_by_sh(env_file, "$PATH|$PYTHONPATH", before=f". {env_file};") == once


def test_reading_the_env_file_warns_of_another_catalogue_than_the_shell_named(tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text(
        shell_environment.render_env_file({"SLUICE_CATALOG": "/srv/the stack's"}, psql=Path("/opt/pg/bin"))
    )
    assert shell_environment.read_env_file(env_file) == {"SLUICE_CATALOG": "/srv/the stack's"}
    assert "another catalogue than SLUICE_CATALOG=/srv/mine" in warning_of(env_file, SLUICE_CATALOG="/srv/mine")
    assert "another catalogue than SLUICE_CATALOG=," in warning_of(env_file, SLUICE_CATALOG="")
    assert warning_of(env_file, SLUICE_CATALOG="/srv/the stack's") == warning_of(env_file) == ""


def warning_of(env_file: Path, **shell: str) -> str:
    return subprocess.run(
        ["/bin/sh", "-euc", '. "$0"; printf %s "$SLUICE_CATALOG"', env_file],
        env={"PATH": "/usr/bin:/bin", **shell},
        capture_output=True,
        text=True,
        check=True,
    ).stderr


def test_python_path_of_the_caller_follows_include() -> None:
    environment = shell_environment.for_shell({}, {"PYTHONPATH": f"/mine:{shell_environment.INCLUDE_FOLDER}"})
    assert environment["PYTHONPATH"] == f"{shell_environment.INCLUDE_FOLDER}:/mine"


def test_marker_of_the_home_is_set_for_programs_and_not_in_shells(tmp_path: Path) -> None:
    environment = shell_environment.for_programs({}, caller_environment={}, home=Home(tmp_path))
    assert environment[HOME_VARIABLE] == str(tmp_path)
    assert HOME_VARIABLE not in shell_environment.for_shell({}, {})
    assert HOME_VARIABLE not in make_plan(tmp_path).env_file_variables


def test_programs_use_no_proxy_for_loopback(tmp_path: Path) -> None:
    environment = shell_environment.for_programs({}, caller_environment={"NO_PROXY": "intranet"}, home=Home(tmp_path))
    assert environment["NO_PROXY"] == environment["no_proxy"] == "intranet,127.0.0.1,localhost"


def test_connections_hold_address_and_credentials(tmp_path: Path) -> None:
    variables = make_plan(tmp_path).env_file_variables
    assert json.loads(variables["AIRFLOW_CONN_WAREHOUSE"]) == {
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": 20001,
        "login": "sluice",
        "password": SECRETS.postgres_password,
        "schema": "sluice",
    }
    assert json.loads(variables["AIRFLOW_CONN_LIMITS"])["extra"] == {"db": 1}
    assert json.loads(variables["AIRFLOW_CONN_PLAID"]) == {
        "conn_type": "http",
        "host": variables["BANK_URL"],
        "login": SECRETS.bank_client_id,
        "password": SECRETS.bank_secret,
    }
    assert json.loads(variables["AIRFLOW_CONN_SIMPLEFIN"])["host"] == f"{variables['BANK_URL']}/simplefin"
    gocardless = json.loads(variables["AIRFLOW_CONN_GOCARDLESS"])
    assert (gocardless["host"], gocardless["login"]) == (
        f"{variables['BANK_URL']}/gocardless/api/v2",
        SECRETS.bank_client_id,
    )
    api = json.loads(variables["AIRFLOW_CONN_AIRFLOW_API"])
    assert (api["host"], api["login"]) == (variables["AIRFLOW__API__BASE_URL"], "admin")
    assert api["password"] == SECRETS.admin_password


def test_options_of_a_named_warehouse_reach_its_connection(tmp_path: Path) -> None:
    variables = make_plan(tmp_path, WAREHOUSE_URL="postgresql://u:p@h/d?sslmode=require").env_file_variables
    assert json.loads(variables["AIRFLOW_CONN_WAREHOUSE"])["extra"] == {"sslmode": "require"}


def test_connection_to_the_limits_of_an_encrypted_broker_is_encrypted(tmp_path: Path) -> None:
    variables = make_plan(tmp_path, BROKER_URL="rediss://:p@h:6380/0").env_file_variables
    assert json.loads(variables["AIRFLOW_CONN_LIMITS"])["extra"] == {"db": 1, "ssl": True}


def test_caller_can_add_settings_and_override_only_a_few(tmp_path: Path) -> None:
    caller = {
        "AIRFLOW_CONN_SMTP_DEFAULT": "{}",
        "AIRFLOW_CONN_PLAID": "{}",
        "SLUICE_UNSUBSCRIBE_URL": "https://a.example/u",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        HOME_VARIABLE: "x",
        "EDITOR": "vi",
    }
    assert json.loads(make_plan(tmp_path).env_file_variables["AIRFLOW_CONN_SMTP_DEFAULT"])["port"] == PORTS["mail"]
    variables = make_plan(tmp_path, **shell_environment.inherited_settings(caller)).env_file_variables
    assert variables["AIRFLOW_CONN_SMTP_DEFAULT"] == "{}"
    assert variables["AIRFLOW_CONN_PLAID"] == "{}"
    assert variables["SLUICE_UNSUBSCRIBE_URL"] == "https://a.example/u"
    assert variables["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert not {HOME_VARIABLE, "EDITOR"} & set(variables)
