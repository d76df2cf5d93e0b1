import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from dev.servers import processes
from dev.servers.errors import SecretsLost
from dev.stack.stack import Stack
from dev.stack.status import status
from tests.integration.servers.own_servers import Servers


def write_row(stack: Stack) -> None:
    with psycopg.connect(stack.warehouse_url) as connection:
        connection.execute("create table survivor as select 42 as answer")


def read_row(stack: Stack) -> tuple[int] | None:
    with psycopg.connect(stack.warehouse_url) as connection:
        return connection.execute("select answer from survivor").fetchone()


def kill_supervisor(home: Path) -> None:
    supervisor = psutil.Process(int((home / "supervisord.pid").read_text()))
    supervisor.send_signal(signal.SIGKILL)
    processes.wait_for_exit([supervisor], timedelta(seconds=5))


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_servers_recover_from_what_earlier_starts_left(servers: Servers, bystander: subprocess.Popen[bytes]) -> None:
    partial_data = servers.create_leftover("postgres/data.half")
    (partial_data / "PG_VERSION").write_text("18\n")
    first = servers.start()
    assert servers.has_message("left incomplete")
    assert not partial_data.exists()
    write_row(first)

    kill_supervisor(servers.home)
    second = servers.start()
    assert servers.has_message("Stopped a Postgres that still ran")
    assert (second.warehouse_url, read_row(second)) == (first.warehouse_url, (42,))

    servers.stop()
    assert not servers.processes()
    pid_file = servers.home / "postgres" / "data" / "postmaster.pid"
    pid_file.write_text(f"{bystander.pid}\n{pid_file.parent}\n0\n1\n\n127.0.0.1\n")
    with socket.create_server(("127.0.0.1", urlsplit(first.warehouse_url).port or 0)):
        third = servers.start()
    assert servers.has_message("stale")
    assert servers.has_message("is taken by another program: postgres moves to")
    assert (third.warehouse_url != first.warehouse_url, read_row(third)) == (True, (42,))
    assert bystander.poll() is None

    kill_supervisor(servers.home)
    assert "still run" in status(servers.home).lines[0]
    servers.stop()
    assert not servers.processes()
    servers.stop()
    assert servers.has_message("Nothing runs")


def test_data_without_its_passwords_is_named(servers: Servers) -> None:
    servers.create_leftover("postgres/data")
    with pytest.raises(SecretsLost, match=r"secrets\.json is gone"):
        servers.start()


def test_two_starts_at_once_make_one_stack(servers: Servers) -> None:
    other = Servers(servers.home)
    started: list[Stack] = []
    threads = [
        threading.Thread(target=lambda starter=starter: started.append(starter.start())) for starter in (servers, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert started[0] == started[1]
    assert sorted(each.has_message("waiting for it") for each in (servers, other)) == [False, True]
    assert len([p for p in servers.processes() if "supervisor.supervisord" in p.cmdline()]) == 1


def test_stack_whose_home_was_removed_can_be_stopped(servers: Servers) -> None:
    servers.start()
    shutil.rmtree(servers.home)
    servers.stop()
    assert servers.has_message("Stopped")
    assert not servers.processes()


def test_port_that_another_program_took_is_replaced(servers: Servers) -> None:
    before = servers.start()
    host, port = urlsplit(before.ui_url).hostname, urlsplit(before.ui_url).port
    with socket.create_server((host, port)):
        after = servers.start()
    assert servers.has_message(f"Port {port} is taken by another program by now")
    assert after.ui_url != before.ui_url
    assert after.warehouse_url == before.warehouse_url
