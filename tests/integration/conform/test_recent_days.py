"""The conformance kit, against a list of recent days of a provider without a feed, and wrong copies of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from etl.conform import kit
from etl.conform.kit import Provided
from etl.conform.pytest_plugin import Conform
from etl.conform.verdict import Result, Verdict, find_wrong
from etl.declare.api.paging import PageNumberPaging, ShortPage
from etl.settings import Endpoint
from tests.api_server import ApiServer
from tests.integration.conform.movements import BANK, ITEMS, MOVEMENTS, SOURCE, respond


@pytest.fixture(scope="module")
def api() -> Iterator[ApiServer]:
    with ApiServer(respond) as api:
        yield api


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recording")


@pytest.fixture(scope="module")
def verdicts(api: ApiServer, recording: Path, server: Endpoint) -> dict[str, Verdict]:
    provided = Provided(Endpoint(api.url), ITEMS, record=recording)
    return {each.behaviour: each for each in kit.conform([MOVEMENTS], provided, server=server)}


def test_the_declaration_of_a_list_holds_whatever_the_bank_does(verdicts: dict[str, Verdict], recording: Path) -> None:
    assert find_wrong(verdicts.values()) == []
    unplayed = {name for name, each in verdicts.items() if each.result is Result.NOT_APPLICABLE}
    assert unplayed == {"removed before added", "cursor goes back", "duplicate record", kit.SIGNS}
    assert "secret-token" not in (recording / "movements_list.json").read_text()


def test_an_end_rule_that_takes_a_page_for_the_last_is_caught(api: ApiServer, server: Endpoint) -> None:
    short = replace(MOVEMENTS, source=replace(SOURCE, paging=PageNumberPaging(end=ShortPage())))
    verdicts = kit.conform([short], Provided(Endpoint(api.url), ITEMS), server=server, only=[kit.END])
    (wrong,) = find_wrong(verdicts)
    assert wrong.reason == (
        "the page behind the last one has 5 more records, which are never read; see `end` of its `paging`"
    )


pytest_plugins = ["etl.conform.pytest_plugin"]


def test_a_catalogue_tests_its_own_declaration_in_a_line(
    conform: Conform, recording: Path, verdicts: dict[str, Verdict]
) -> None:
    assert verdicts
    conform(MOVEMENTS, recording=recording, only=["login needed"])
    nobody_stops = replace(MOVEMENTS, provider=replace(BANK, errors=()))
    with pytest.raises(pytest.fail.Exception, match="movements, login needed: no error rule stops a login"):
        conform(nobody_stops, recording=recording, only=["login needed"])


@pytest.fixture(scope="module")
def conform_server(server: Endpoint) -> Endpoint:
    return server
