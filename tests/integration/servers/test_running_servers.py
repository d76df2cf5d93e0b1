import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from dev.servers.errors import BankServesOthers, ServerUnreachable
from dev.stack import saved_state
from dev.stack.stack import Stack
from dev.stack.status import status
from tests.integration.servers.own_servers import CALLER_ENVIRONMENT, Servers
from tests.unit.bank import purchases


def secret_values(home: Path) -> list[str]:
    return list(vars(saved_state.load_secrets(home / "secrets.json")).values())


def test_warehouse_is_a_utf8_database_with_the_same_collation_everywhere(stack: Stack) -> None:
    with psycopg.connect(stack.warehouse_url) as connection:
        row = connection.execute(
            "select current_setting('server_encoding'), datlocprovider, datlocale, upper('é') "
            "from pg_database where datname = current_database()"
        ).fetchone()
    assert row == ("UTF8", "b", "C.UTF-8", "É")


def test_metadata_has_a_database_of_its_own(stack: Stack) -> None:
    with psycopg.connect(stack.metadata_url) as connection:
        assert connection.info.dbname == "airflow"


def test_broker_keeps_every_write(stack: Stack) -> None:
    with redis.Redis.from_url(stack.broker_url) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_second_start_changes_nothing_and_says_so(stack: Stack, shared: Servers) -> None:
    before = {process.pid for process in shared.processes()}
    assert shared.start() == stack
    assert shared.has_message("up already")
    assert {process.pid for process in shared.processes()} == before


def test_shell_that_read_the_env_file_uses_the_embedded_servers(stack: Stack, shared: Servers) -> None:
    shared.start(caller_environment=stack.environment)
    assert shared.has_message("up already")


def test_env_file_works_in_any_shell_from_anywhere_and_twice(stack: Stack) -> None:
    script = '. "$0"; . "$0"; echo "$PATH"; psql "$WAREHOUSE_URL" -Atc "select 42"; python -c "import etl"'
    result = subprocess.run(
        ["sh", "-euc", script, stack.home / "env"],
        cwd="/",
        env=CALLER_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    path, answer = result.stdout.splitlines()
    folders = path.split(":")
    assert answer == "42"
    assert len(folders) == len(CALLER_ENVIRONMENT["PATH"].split(":")) + 2
    assert folders[0].endswith("/bin")


def test_no_secret_is_on_a_command_line_or_in_a_log(stack: Stack, shared: Servers) -> None:
    texts = [" ".join(process.cmdline()) for process in shared.processes()]
    texts += [path.read_text() for path in (stack.home / "logs").iterdir()]
    assert len(texts) > 4
    assert not [secret for secret in secret_values(stack.home) for text in texts if secret in text]


def test_only_the_owner_may_access_the_files(stack: Stack) -> None:
    assert stack.home.stat().st_mode & 0o777 == 0o700
    private = ("env", "secrets.json", "supervisord.conf", "valkey.conf", "airflow/passwords.json")
    assert {(stack.home / name).stat().st_mode & 0o777 for name in private} == {0o600}


def test_nothing_listens_beyond_the_loopback_interface(stack: Stack, shared: Servers) -> None:
    listening = [
        connection.laddr.ip
        for process in shared.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}
    assert len(listening) == 5


def test_status_lists_every_program(stack: Stack) -> None:
    stack_status = status(stack.home)
    alive = {program.name for program in stack_status.programs if program.pid}
    assert alive == {"postgres", "valkey", "bank", "mail"}
    assert not stack_status.is_up


def test_named_servers_are_used_instead_of_embedded_ones(
    stack: Stack, make_servers: Callable[[Path], Servers], tmp_path: Path
) -> None:
    servers = make_servers(tmp_path / "home")
    other = servers.start({**CALLER_ENVIRONMENT, "WAREHOUSE_URL": stack.warehouse_url, "BROKER_URL": stack.broker_url})
    assert other.warehouse_url == stack.warehouse_url
    assert other.metadata_url == stack.warehouse_url + "_airflow"
    with psycopg.connect(other.metadata_url) as connection:
        assert connection.info.dbname == "sluice_airflow"
    assert {program.name for program in status(other.home).programs if program.pid} == {"bank", "mail"}
    servers.start(other.environment)
    assert servers.has_message("up already")


def test_bank_of_a_file_serves_it_at_every_start_and_runs_on_when_another_is_named(
    stack: Stack, make_servers: Callable[[Path], Servers], tmp_path: Path
) -> None:
    caller = {**CALLER_ENVIRONMENT, "WAREHOUSE_URL": stack.warehouse_url, "BROKER_URL": stack.broker_url}
    file = purchases.write(tmp_path / "file's $name.csv")
    servers = make_servers(tmp_path / "home")
    servers.start({**caller, "SANDBOX_CSV": str(file)})
    assert servers.has_message(f"it serves the 3 items of {file}")
    before = {process.pid for process in servers.processes()}
    with pytest.raises(BankServesOthers):
        servers.start({**caller, "SANDBOX_CSV": str(purchases.write(tmp_path / "other.csv", purchases.ROWS[:3]))})
    servers.start(caller)
    assert servers.has_message("up already")
    assert {process.pid for process in servers.processes()} == before


def test_named_server_that_does_not_answer_is_named_without_its_password(servers: Servers) -> None:
    caller = {**CALLER_ENVIRONMENT, "WAREHOUSE_URL": "postgresql://someone:hunter2@127.0.0.1:9/books"}
    with pytest.raises(ServerUnreachable, match=r"WAREHOUSE_URL names 127\.0\.0\.1:9, but .*unset") as caught:
        servers.start(caller)
    assert "hunter2" not in str(caught.value)
    assert not servers.processes()
