"""The declarations of the catalogue hold, whatever their providers do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etl.conform import kit
from etl.conform.verdict import Result, find_wrong
from tests.integration.conform.conftest import Played
from tests.integration.conform.providers import CASES


@pytest.mark.parametrize("name", CASES)
def test_the_declarations_hold_whatever_the_provider_does(name: str, play: Callable[[str], Played]) -> None:
    played = play(name)
    assert find_wrong(played.verdicts) == []
    for entity, unplayed in CASES[name].unplayed.items():
        verdicts = [each for each in played.verdicts if each.entity == entity]
        assert [each.behaviour for each in verdicts] == list(kit.NAMES)
        assert {each.behaviour for each in verdicts if each.result is Result.NOT_APPLICABLE} <= unplayed


@pytest.mark.parametrize("name", CASES)
def test_a_recording_has_no_secret(name: str, play: Callable[[str], Played]) -> None:
    played = play(name)
    recordings = [path.read_text() for path in played.recording.glob("*.json")]
    assert len(recordings) > 1
    assert [secret for secret in played.secrets if any(secret in text for text in recordings)] == []
