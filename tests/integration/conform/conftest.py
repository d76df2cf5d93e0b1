from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from etl.conform import documented, kit
from etl.conform.verdict import Verdict
from etl.settings import Endpoint
from tests.integration.conform.providers import CASES
from tests.integration.sync.own_bank import OwnBank


@dataclass(frozen=True)
class Played:
    """What the kit made of the declarations of a provider.

    Parameters
    ----------
    recording
        Folder of the recording that it made; `documented.json` has the documented errors.
    secrets
        Secrets that it was given.
    """

    verdicts: list[Verdict]
    recording: Path
    secrets: list[str]


@pytest.fixture(scope="session")
def play(server: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Played]:
    """Return a function that plays all behaviours against a provider of the catalogue, once."""

    @cache
    def played(name: str) -> Played:
        case, folder = CASES[name], tmp_path_factory.mktemp("recording")
        with OwnBank() as bank:
            provided = replace(
                case.provide(bank), record=folder, documented=documented.load(case.write_documented(folder))
            )
            verdicts = kit.conform(case.entities, provided, server=server)
            secrets = [bank.endpoint.password, *provided.public_tokens, *(item.access_token for item in provided.items)]
        return Played(verdicts, folder, secrets)

    return played


@pytest.fixture
def played(play: Callable[[str], Played]) -> Played:
    """Return what the kit made of Plaid."""
    return play("plaid")
