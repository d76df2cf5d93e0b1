"""What providers declare about error responses."""

from __future__ import annotations

import pytest

from etl.catalog.providers.plaid import PLAID
from etl.declare.provider import ErrorAction, ErrorRule

STOPPING = [rule for rule in PLAID.errors if rule.action is ErrorAction.STOP_ACCOUNT]


@pytest.mark.parametrize("rule", STOPPING, ids=lambda rule: rule.error_code or rule.error_type)
def test_each_rule_of_plaid_that_stops_logins_has_a_remedy_in_whole_sentences(rule: ErrorRule) -> None:
    assert rule.remedy[:1].isupper()
    assert rule.remedy.endswith(".")
    assert PLAID.remedy(rule.error_code or "ANY_OTHER") == rule.remedy


def test_the_remedies_of_plaid_differ() -> None:
    assert len({rule.remedy for rule in STOPPING}) == len(STOPPING) > 1
