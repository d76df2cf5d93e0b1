import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from dev.servers import processes
from dev.servers.errors import PrivilegesUnavailable
from dev.servers.postgres import SUPERUSER
from dev.servers.privileges import Privileges, unprivileged_account
from dev.stack.home import HOME_VARIABLE
from tests.integration.servers.own_servers import Servers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Postgres runs as the caller unless that is root")


def postgres_of(home: Path) -> psutil.Process:
    servers = [
        process for process in processes.with_environment(HOME_VARIABLE, str(home)) if process.name() == "postgres"
    ]
    return servers[0]


@pytest.fixture
def dropped(servers: Servers) -> Iterator[Servers]:
    yield servers
    for folder in Path("/tmp").glob("sluice-postgres-*"):
        if str(folder) in (servers.home / "postgres.json").read_text():
            servers.stop()
            shutil.rmtree(folder)


def test_root_runs_postgres_in_a_user_namespace_if_allowed(servers: Servers) -> None:
    servers.start(privileges=Privileges.NAMESPACE)
    postgres = postgres_of(servers.home)
    inside = Path(f"/proc/{postgres.pid}/uid_map").read_text().split()
    assert inside[:2] == [str(unprivileged_account().uid), "0"]
    assert (servers.home / "postgres" / "data").stat().st_uid == 0


def test_root_runs_postgres_as_nobody_from_copies_otherwise(dropped: Servers) -> None:
    stack = dropped.start(privileges=Privileges.DROPPED)
    assert dropped.has_message("it runs as nobody from")
    postgres = postgres_of(dropped.home)
    assert postgres.uids().real == pwd.getpwnam("nobody").pw_uid
    assert set(postgres.environ()) == {HOME_VARIABLE, "LC_ALL"}
    with psycopg.connect(stack.warehouse_url) as connection:
        assert connection.info.user == SUPERUSER

    dropped.stop()
    restarted = dropped.start()
    assert restarted.warehouse_url == stack.warehouse_url
    assert postgres_of(dropped.home).uids().real == pwd.getpwnam("nobody").pw_uid


def test_data_of_a_namespace_is_not_replaced_by_empty_databases_of_a_copy(servers: Servers) -> None:
    servers.create_leftover("postgres/data")
    (servers.home / "secrets.json").write_text("{}")
    with pytest.raises(PrivilegesUnavailable, match="--home"):
        servers.start(privileges=Privileges.DROPPED)
