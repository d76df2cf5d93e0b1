"""What a response asks for, by the declared error rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from etl.catalog.providers.plaid import PLAID
from etl.declare.api.part import Part
from etl.declare.provider import ErrorAction, ErrorRule, Provider
from etl.errors import ProviderRefused
from etl.sync.provider.failures import (
    ProviderCallFailed,
    check_errors_inside,
    find_failure,
    find_wait,
    is_declared_error,
    values_at,
)
from etl.sync.records.frames import Gap

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
STOP, RETRY = ErrorAction.STOP_ACCOUNT, ErrorAction.RETRY
BANK = Provider(name="bank", connection="bank", error_code="error.code")


def failure(rules: tuple[ErrorRule, ...], status: int, content: bytes, provider: Provider = BANK) -> Exception:
    return find_failure(replace(provider, errors=rules), "/x", status, content, wait=None, sends_cursor=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 100_000,
        b'{"causes": ' + b"[" * 100_000,
        b'{"error_code": {}}',
        b'{"error_code": true}',
        b'{"error_code": "caf\xe9"}',
        b'{"error_code": "nul\\u0000"}',
        b'{"error_code": "line\\nbreak"}',
        b'{"error_code": "%s"}' % (b"x" * 101),
        b'{"error_code": ""}',
    ],
)
def test_an_error_without_a_printable_code_is_named_by_its_status(content: bytes) -> None:
    error = failure((), 400, content, PLAID)
    assert isinstance(error, ProviderRefused)
    assert error.detail == "/x answered HTTP 400, HTTP 400"


@pytest.mark.parametrize(
    ("rule", "status", "content", "matches"),
    [
        (ErrorRule(STOP, code="EXPIRED"), 400, b'{"error": {"code": "EXPIRED"}}', True),
        (ErrorRule(STOP, code="EXPIRED"), 400, b'{"error": {"code": "OTHER"}}', False),
        (ErrorRule(STOP, code="EXPIRED", status=401), 400, b'{"error": {"code": "EXPIRED"}}', False),
        (ErrorRule(STOP, status=403), 403, b"<html>", True),
        (ErrorRule(STOP, field="type", code="Access*"), 401, b'{"type": "AccessExpiredError"}', True),
        (ErrorRule(STOP, field="errors[].code", code="con.auth"), 400, b'{"errors": [{}, {"code": "con.auth"}]}', True),
        (ErrorRule(STOP, field="errors[]", code="*log in*"), 400, b'{"errors": ["Please log in again"]}', True),
        (ErrorRule(STOP, field="status", code="17"), 400, b'{"status": 17}', True),
        (ErrorRule(STOP, field="errors[]", code="*log in*", status=200), 400, b'{"errors": ["Please log in"]}', False),
    ],
)
def test_a_rule_matches_a_code_anywhere_in_the_body_and_a_status(
    rule: ErrorRule, status: int, content: bytes, *, matches: bool
) -> None:
    error = failure((rule,), status, content)
    assert isinstance(error, ProviderCallFailed) is matches
    if isinstance(error, ProviderCallFailed):
        assert error.action is STOP


def test_the_first_rule_that_matches_applies() -> None:
    rules = (ErrorRule(RETRY, status=400), ErrorRule(STOP, code="EXPIRED"))
    error = failure(rules, 400, b'{"error": {"code": "EXPIRED"}}')
    assert isinstance(error, ProviderCallFailed)
    assert (error.action, error.code) == (RETRY, "EXPIRED")


def test_an_error_inside_a_successful_response_is_found_by_a_rule_for_its_status_only() -> None:
    body = b'{"errors": ["You must reauthenticate."], "accounts": []}'
    loud = replace(BANK, errors=(ErrorRule(STOP, field="errors[]", code="*reauthenticate*", status=200),))
    with pytest.raises(ProviderCallFailed, match=r"reauthenticate \(stop_account\)"):
        check_errors_inside(loud, 200, body, wait=None, sends_cursor=False)
    for rule in (ErrorRule(STOP, field="errors[]", code="*reauthenticate*"), ErrorRule(STOP, code="x", status=200)):
        check_errors_inside(replace(BANK, errors=(rule,)), 200, body, wait=None, sends_cursor=False)


BANK_PART, ACCOUNT_PART = Part(field="conn", column="bank_id"), Part(field="acct", column="account_id")


def incomplete(code: str, part: Part | None = None) -> ErrorRule:
    return ErrorRule(ErrorAction.INCOMPLETE, code, "errs[].code", status=200, part=part, detail="msg")


GAPS = (
    ErrorRule(STOP, field="errs[].code", code="gen.auth", status=200),
    incomplete("con.*", BANK_PART),
    incomplete("act.*", ACCOUNT_PART),
    incomplete("*"),
)


@pytest.mark.parametrize(
    ("errors", "gaps"),
    [
        ([], []),
        (
            [{"code": "con.auth", "conn": "C1", "msg": "Log in\nplease"}],
            [Gap("con.auth", "bank_id", "C1", "Log inplease")],
        ),
        (
            [{"code": "con.auth"}, {"code": "act.failed", "acct": 7}],
            [Gap("con.auth"), Gap("act.failed", "account_id", "7")],
        ),
        ([{"code": "gen.", "conn": "C1"}, {}, "x", {"code": None}], [Gap("gen.")]),
        (
            [{"code": "con.a", "conn": "C1"}, {"code": "con.a", "conn": "C2"}, {"code": "con.a", "conn": "C1"}],
            [Gap("con.a", "bank_id", "C1"), Gap("con.a", "bank_id", "C2")],
        ),
    ],
)
def test_a_response_that_lacks_records_of_a_part_says_which_by_the_first_rule_for_each_error(
    errors: list[object], gaps: list[Gap]
) -> None:
    provider = replace(BANK, errors=GAPS)
    body = msgspec.json.encode({"errs": errors, "rows": []})
    assert list(check_errors_inside(provider, 200, body, wait=None, sends_cursor=False)) == gaps


def test_an_error_that_asks_for_an_action_counts_more_than_gaps() -> None:
    provider = replace(BANK, errors=(*GAPS[1:], GAPS[0]))
    body = b'{"errs": [{"code": "con.auth"}, {"code": "gen.auth"}]}'
    with pytest.raises(ProviderCallFailed, match=r"gen.auth \(stop_account\)"):
        check_errors_inside(provider, 200, body, wait=None, sends_cursor=False)


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {}, None),
        (429, {"Retry-After": "5"}, 5),
        (429, {"X-Reset": "3600"}, 3600),
        (429, {"Retry-After": "5", "X-Reset": "3600"}, 3600),
        (429, {"Retry-After": "7", "X-Reset": "soon"}, 7),
        (503, {"Retry-After": "5", "X-Reset": "3600"}, 5),
        (500, {"X-Reset": "3600"}, None),
    ],
)
def test_the_longest_wait_that_a_response_asks_for_counts_and_declared_headers_of_a_429_only(
    status: int, headers: dict[str, str], wait: int | None
) -> None:
    provider = replace(BANK, wait_headers=("X-Reset",))
    assert find_wait(provider, status, headers, now=NOW) == (None if wait is None else timedelta(seconds=wait))


@pytest.mark.parametrize(
    ("rule", "content", "declared"),
    [
        (ErrorRule(STOP, code="EXPIRED"), b'{"error": {"code": "EXPIRED"}}', True),
        (ErrorRule(STOP, field="title", code="Consent*ended", status=401), b'{"title": "Consent 7 ended"}', True),
        (ErrorRule(STOP, code="EXPIRED", status=403), b'{"error": {"code": "EXPIRED"}}', False),
        (ErrorRule(STOP, code="EXPIRED"), b'{"error": {"code": "BAD_TOKEN"}}', False),
        (ErrorRule(STOP, status=401), b'{"error": {"code": "EXPIRED"}}', False),
    ],
)
def test_a_401_is_about_the_login_only_if_a_rule_names_its_code(
    rule: ErrorRule, content: bytes, declared: object
) -> None:
    assert is_declared_error(replace(BANK, errors=(rule,)), 401, content) is declared


def test_values_of_all_items_of_a_list_are_found() -> None:
    document = {"a": [{"b": 1}, {"c": 2}, 3, {"b": [4, 5]}]}
    assert values_at(document, "a[].b") == [1, [4, 5]]
    assert values_at(document, "a[].b[]") == [4, 5]
    assert values_at(document, "x.y") == []
