"""Rules for error responses, of which the first that matches applies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from etl.errors import DeclarationError


class Rule(Protocol):
    """A rule for error responses."""

    @property
    def code(self) -> str | None:
        """Value of the field that it matches; None for any."""

    @property
    def field(self) -> str:
        """Path of this field."""

    @property
    def status(self) -> int | None:
        """HTTP status that it matches; None for any."""

    @property
    def finds_errors_in_success(self) -> bool:
        """Whether it applies to responses with a status of success."""


def require_reachable(where: str, rules: Sequence[Rule]) -> None:
    """Refuse a rule that never applies, since an earlier one matches all that it matches."""
    for index, rule in enumerate(rules):
        for earlier in rules[:index]:
            if _covers(earlier, rule):
                raise DeclarationError(
                    f"{where}: the error rule for {_describe(rule)} never applies, since the one for "
                    f"{_describe(earlier)} comes before it; remove it, or move it up"
                )


def _covers(earlier: Rule, rule: Rule) -> bool:
    if earlier.finds_errors_in_success != rule.finds_errors_in_success or earlier.status not in (None, rule.status):
        return False
    return earlier.code is None or (earlier.code, earlier.field) == (rule.code, rule.field)


def _describe(rule: Rule) -> str:
    parts = (("status", rule.status), (rule.field or "code", rule.code))
    return " and ".join(f"{name} {value}" for name, value in parts if value is not None)
