"""Verdicts: whether a declaration holds while its provider behaves badly, and why not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from etl.errors import SluiceError


class Result(Enum):
    """Whether a declaration holds."""

    OK = "ok"
    WRONG = "wrong"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Verdict:
    """What one behaviour of a provider showed about one entity.

    Parameters
    ----------
    entity, behaviour
        What was played.
    result
        Whether the declaration holds.
    reason
        What happened; if it is wrong, with the field of the declaration to look at.
    """

    entity: str
    behaviour: str
    result: Result
    reason: str


class Wrong(SluiceError):
    """A behaviour of the provider led to wrong, missing or hidden results.

    Parameters
    ----------
    found
        What was found.
    remedy
        Which field of the declaration to look at; empty for that of the behaviour.
    """

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy


class NotApplicable(SluiceError):
    """A behaviour cannot occur at this source, or cannot be played from what is known of it."""


def find_wrong(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return those that are wrong."""
    return [verdict for verdict in verdicts if verdict.result is Result.WRONG]
