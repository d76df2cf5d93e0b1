"""A pytest plugin for catalogues: `pytest_plugins = ["etl.conform.pytest_plugin"]`.

PYTEST_DONT_REWRITE: it has no assertions, and tests may import `Conform` from it before pytest does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from etl.conform import documented, kit
from etl.conform.kit import Provided
from etl.conform.scratch import ServerUrlInvalid, parse_server
from etl.conform.verdict import Verdict, find_wrong
from etl.declare.entity import Entity
from etl.settings import Endpoint
from etl.sync.provider.enrolment import GrantedItem

_OPTION = "--conform-database"


class Conform(Protocol):
    """The fixture `conform`."""

    def __call__(
        self,
        *entities: Entity,
        recording: str | Path | None = None,
        answers: str | Path | None = None,
        endpoint: Endpoint | None = None,
        logins: Sequence[GrantedItem] = (),
        public_tokens: Sequence[str] = (),
        without: Collection[str] = (),
        only: Collection[str] = (),
    ) -> list[Verdict]:
        """Play all behaviours, fail the test if a verdict is wrong, and return the verdicts; see `kit.conform`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option with the server of scratch databases."""
    parser.addoption(
        _OPTION,
        metavar="URL",
        default="",
        help="Postgres on which conformance tests create scratch databases; by default that of AIRFLOW_CONN_WAREHOUSE.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an option that is no URL of a Postgres before any test runs."""
    if url := _named_server(config):
        try:
            parse_server(url)
        except ServerUrlInvalid as error:
            raise pytest.UsageError(f"{_OPTION}: {error}") from None


@pytest.fixture
def conform(conform_server: Endpoint) -> Conform:
    """Return a function that fails the test if a declaration does not hold while its provider behaves badly."""

    def play(
        *entities: Entity,
        recording: str | Path | None = None,
        answers: str | Path | None = None,
        endpoint: Endpoint | None = None,
        logins: Sequence[GrantedItem] = (),
        public_tokens: Sequence[str] = (),
        without: Collection[str] = (),
        only: Collection[str] = (),
    ) -> list[Verdict]:
        provided = Provided(
            endpoint,
            logins,
            public_tokens,
            Path(recording) if recording else None,
            documented=documented.load(Path(answers)) if answers else {},
        )
        verdicts = kit.conform(entities, provided, server=conform_server, without=without, only=only)
        if wrong := find_wrong(verdicts):
            lines = [f"{each.entity}, {each.behaviour}: {each.reason}" for each in wrong]
            pytest.fail("\n".join(lines), pytrace=False)
        return verdicts

    return play


@pytest.fixture(scope="session")
def conform_server(request: pytest.FixtureRequest) -> Endpoint:
    """Return the server of scratch databases; a test suite with one of its own overrides it."""
    url = _named_server(request.config)
    return parse_server(url) if url else Endpoint.from_environment("warehouse")


def _named_server(config: pytest.Config) -> str:
    # A test module that names the plugin is read after the options.
    return str(config.getoption(_OPTION, ""))
