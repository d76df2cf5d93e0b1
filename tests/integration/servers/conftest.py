"""Servers in temporary homes, so that a developer's stack is never touched."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.stack.stack import Stack
from tests.integration.servers.own_servers import Servers


@pytest.fixture
def make_servers() -> Iterator[Callable[[Path], Servers]]:
    started: list[Servers] = []

    def make(home: Path) -> Servers:
        started.append(Servers(home.resolve()))
        return started[-1]

    yield make
    for servers in started:
        servers.stop()


@pytest.fixture
def servers(make_servers: Callable[[Path], Servers], tmp_path: Path) -> Servers:
    return make_servers(tmp_path / "home")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    deep_folder = tmp_path_factory.mktemp("deep").joinpath(*("a folder's $name, (quite) long",) * 6)
    servers = Servers((deep_folder / "home").resolve())
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def stack(shared: Servers) -> Stack:
    return shared.start()
