"""Rules for error responses, of which the first that matches applies."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from etl.declare.api.error_rule import ErrorAction, ErrorRule
from etl.errors import DeclarationError

_PASSES_ON = (ErrorAction.INCOMPLETE, ErrorAction.REREAD_FEED)
"""Actions after which a rule with another action may still apply: the rest of the response is loaded, or the request
had no cursor."""

_WILDCARDS = frozenset("*?[")


def require_reachable(where: str, rules: Sequence[ErrorRule]) -> None:
    """Refuse a rule that never applies, since an earlier one matches all that it matches."""
    for index, rule in enumerate(rules):
        for earlier in rules[:index]:
            if _covers(earlier, rule):
                raise DeclarationError(
                    f"{where}: the error rule for {_describe(rule)} never applies, since the one for "
                    f"{_describe(earlier)} comes before it; remove it, or move it up"
                )


def _covers(earlier: ErrorRule, rule: ErrorRule) -> bool:
    if earlier.finds_errors_in_success != rule.finds_errors_in_success or earlier.status not in (None, rule.status):
        return False
    if earlier.action in _PASSES_ON and earlier.action is not rule.action:
        return False
    if earlier.code is None:
        return True
    return rule.code is not None and earlier.field == rule.field and _has_all_codes(earlier.code, rule.code)


def _has_all_codes(pattern: str, code: str) -> bool:
    """Return whether a pattern surely matches all that another one matches."""
    return pattern in ("*", code) or (_WILDCARDS.isdisjoint(code) and fnmatchcase(code, pattern))


def _describe(rule: ErrorRule) -> str:
    parts = (("status", rule.status), (rule.field or "code", rule.code))
    return " and ".join(f"{name} {value}" for name, value in parts if value is not None)
