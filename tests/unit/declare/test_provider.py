"""Declarations of providers and sources: what cannot work is refused with where it is, what was found, and a remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from etl.catalog.providers.plaid import PLAID
from etl.declare.api.auth import AccessUrl, ApiKey, ClientCredentials, RefreshToken, TokenHeader, TokenRequest
from etl.declare.api.paging import (
    EmptyPage,
    Flag,
    NextLink,
    OffsetPaging,
    PageNumberPaging,
    ShortPage,
    TokenPaging,
    Total,
)
from etl.declare.api.part import Part
from etl.declare.api.quota import Quota
from etl.declare.api.request import Day, Encoding, Method, Placeholder, Request, Text
from etl.declare.provider import (
    AccessUrlClaim,
    Consent,
    ConsentLookup,
    Enrolment,
    ErrorAction,
    ErrorRule,
    InstitutionLookup,
    Provider,
    Unlinking,
)
from etl.declare.source import Feed, Recent, Snapshot, Window
from etl.errors import DeclarationError

P = Placeholder
STOPPING = [rule for rule in PLAID.errors if rule.action is ErrorAction.STOP_ACCOUNT]
TOKEN = TokenRequest(path="/token", body={"id": P.CLIENT_ID}, access_token="access", refresh_token="refresh")
REFRESH = TokenRequest(path="/refresh", body={"r": P.REFRESH_TOKEN}, access_token="access")
BANK = Provider(name="bank", connection="bank")
ENROLMENT = Enrolment(path="/links/{public_token}", item_id="accounts[]", access_token="token")
LIST = Snapshot(name="rows", path="/rows", upserts=("rows[]",))
WINDOW = Window(name="rows", path="/rows", query={"a": P.FIRST_DAY, "b": P.LAST_DAY}, upserts=("rows[]",))
RECENT = Recent(name="rows", path="/rows", query={"a": P.FIRST_DAY}, upserts=("rows[]",), days=30, dated_by="day")
FEED = Feed(name="feed", path="/feed", query={"c": P.CURSOR}, upserts=("rows[]",), cursor="next", more="more")


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (
            lambda: Text("Bearer {token}"),
            r"Text: template has {token}, which is no placeholder; write one of client_id, .*item_id",
        ),
        (lambda: Text("Bearer {access_token"), "with a single brace"),
        (lambda: Day(P.CURSOR, "%d"), "Day: its placeholder is CURSOR, which is no day; write DAY_AFTER_LAST or"),
        (
            lambda: Day(P.FIRST_DAY, "dd.mm.yyyy"),
            "Day: form is 'dd.mm.yyyy', which names no day; write such as '%d.%m.%Y'",
        ),
        (lambda: replace(LIST, path="rows"), "source rows: path is 'rows'; it must begin with '/'"),
        (lambda: replace(LIST, path="/rows?a=1"), "path is '/rows[?]a=1'; move what follows the '[?]' to query"),
        (lambda: replace(LIST, path="/{item}/rows"), r"source rows: path has {item}, which is no placeholder"),
        (lambda: replace(LIST, method="GET"), r"method is 'GET' \(str\); write a Method"),  # type: ignore[arg-type]
        (lambda: replace(LIST, method=Method.GET, body={"a": 1}), "a GET with a body, .* move its fields to query"),
        (
            lambda: replace(LIST, body={"a": {"b": 1}}, encoding=Encoding.FORM),
            "body\\['a'\\] is nested; only a JSON body is, so write it flat",
        ),
        (lambda: replace(LIST, query={"c": P.CURSOR}), "Placeholder.CURSOR, which a Snapshot never fills; remove it"),
        (lambda: replace(LIST, query={"c": Text("x{cursor}")}), "Placeholder.CURSOR, which a Snapshot never fills"),
        (
            lambda: replace(LIST, query={"d": Day(P.FIRST_DAY, "%d")}),
            "Placeholder.FIRST_DAY, which a Snapshot never fills",
        ),
        (
            lambda: replace(LIST, query={"p": P.PAGE_NUMBER}),
            "which OnePage never fills; remove it, or declare its paging",
        ),
        (
            lambda: replace(LIST, paging=PageNumberPaging(end=EmptyPage())),
            "no Placeholder.PAGE_NUMBER, so every page would",
        ),
        (
            lambda: replace(LIST, query={"p": P.PAGE_NUMBER}, paging=PageNumberPaging(end=ShortPage())),
            "no Placeholder.PAGE_SIZE, so it is unknown which page is short; add it",
        ),
        (lambda: PageNumberPaging(end=None), "PageNumberPaging: end is None"),  # type: ignore[arg-type]
        (
            lambda: TokenPaging("next..token"),
            "TokenPaging: path is 'next..token'; write the names that lead to the field",
        ),
        (lambda: NextLink("links[].next"), "NextLink: path is 'links"),
        (lambda: Total(""), "Total: path is ''"),
        (lambda: Flag("more", more="yes"), "Flag: more is 'yes'"),  # type: ignore[arg-type]
        (lambda: OffsetPaging(end=Total("t"), identity="a.b"), "identity is 'a.b'; write the name of a field"),
        (lambda: replace(LIST, upserts=("a.b",)), r"upserts has 'a.b', which names no list; write 'a\[\].b\[\]'"),
        (lambda: replace(LIST, upserts=("a{}", "b[]")), "upserts has a single record and 1 more paths; leave it alone"),
        (lambda: replace(LIST, upserts=("a[].b{}",)), "which names no record; write such as 'account{}'"),
        (lambda: replace(RECENT, upserts=("a{}",)), "upserts has 'a{}', which names no list; write names of lists"),
        (lambda: replace(LIST, upserts=("a[].b[]",)), r"a list within others; write 'a\[\]'"),
        (lambda: replace(LIST, optional=("other[]",)), r"optional has 'other\[\]', which is none of its lists"),
        (lambda: replace(FEED, cursor="a..b"), "source feed: cursor is 'a..b'; write the names"),
        (lambda: replace(FEED, more="more[]"), r"source feed: more is 'more\[\]'; write the names"),
        (
            lambda: replace(WINDOW, query={"b": P.LAST_DAY}),
            "no Placeholder.FIRST_DAY, so every window would be the same",
        ),
        (lambda: replace(WINDOW, query={"a": P.FIRST_DAY}), "no Placeholder.LAST_DAY, so every window would end today"),
        (lambda: replace(RECENT, query={}), "no Placeholder.FIRST_DAY, so it is unknown which days the provider sends"),
        (lambda: replace(RECENT, days=1), "days is 1; it must be between 2 and 3660"),
        (lambda: replace(RECENT, first_days=20), "first_days is 20; it must be between 30 and 3660"),
        (
            lambda: replace(RECENT, days_per_request=7),
            "its request does not say its last day; add Placeholder.LAST_DAY, or DAY_AFTER_LAST",
        ),
        (
            lambda: replace(RECENT, query={"a": P.FIRST_DAY, "b": P.LAST_DAY}, days_per_request=0),
            "days_per_request is 0; it must be at least 1",
        ),
        (lambda: Quota(calls=0, per=timedelta(days=1)), "quota: calls is 0; it must be at least 1"),
        (
            lambda: Quota(calls=4, per=timedelta(days=1), counts_errors="no"),  # type: ignore[arg-type]
            r"quota: counts_errors is 'no' \(str\); write a bool",
        ),
        (lambda: Quota(calls=4, per=timedelta(minutes=1)), "quota: per is 0:01:00; below 1:00:00, declare a RateLimit"),
        (
            lambda: Quota(calls=4, per=timedelta(days=1), remaining_header="R"),
            "nothing tells when to ask again; add it",
        ),
        (lambda: TokenHeader(Text("Bearer")), "TokenHeader: text is 'Bearer', without a token"),
        (lambda: ApiKey(""), "ApiKey: name is empty"),
        (lambda: replace(TOKEN, access_token="a b"), "token request /token: access_token is 'a b'"),
        (lambda: replace(TOKEN, body={"c": P.CURSOR}), "Placeholder.CURSOR, which a token request never fills"),
        (lambda: ClientCredentials(token=REFRESH), "token has Placeholder.REFRESH_TOKEN, before there is one"),
        (lambda: ClientCredentials(token=TOKEN, refresh=TOKEN), "refresh has no Placeholder.REFRESH_TOKEN"),
        (
            lambda: ClientCredentials(token=replace(TOKEN, refresh_token=None), refresh=REFRESH),
            "refresh is declared, but token names no refresh_token; write its path",
        ),
        (lambda: RefreshToken(token=TOKEN), "RefreshToken: token has no Placeholder.REFRESH_TOKEN"),
        (
            lambda: replace(BANK, auth=ClientCredentials(token=TOKEN), timeout=timedelta(seconds=61)),
            "timeout is 0:01:01, but a token is renewed by one worker alone for 0:02:00, .* write at most 0:01:00",
        ),
        (lambda: ErrorRule(ErrorAction.RETRY, field="type"), "it would match every error"),
        (lambda: ErrorRule(ErrorAction.RETRY, status=200), "would match every response of its status; add code"),
        (lambda: ErrorRule(ErrorAction.RETRY, field="a..b", code="x"), "error rule retry: field is 'a..b'"),
        (
            lambda: ErrorRule(ErrorAction.INCOMPLETE, status=404, code="x"),
            "error rule incomplete: an error response has no records at all; write the status, such as 200",
        ),
        (
            lambda: ErrorRule(ErrorAction.RETRY, code="x", part=Part(field="bank", column="bank_id")),
            "part and detail are of incomplete responses; remove them",
        ),
        (lambda: Part(field="a.b", column="c"), "part: field is 'a.b'; write the name of a field beside the code"),
        (lambda: replace(ENROLMENT, path="/links"), "no Placeholder.PUBLIC_TOKEN, so it enrols no one; add it"),
        (lambda: replace(ENROLMENT, item_id="a b"), "enrolment by /links/{public_token}: item_id is 'a b'"),
        (lambda: replace(ENROLMENT, expects={"a..b": "x"}), "expects is 'a..b'"),
        (lambda: replace(ENROLMENT, valid_days=90), r"valid_days is 90 \(int\); write a str or ConsentLookup or None"),  # type: ignore[arg-type]
        (
            lambda: ConsentLookup(path="/agreements", consent_id="agreement", valid_days="days"),
            "consent lookup by /agreements: its request has no Placeholder.CONSENT_ID, so it asks for none; add it",
        ),
        (
            lambda: ConsentLookup(path="/agreements/{consent_id}", consent_id="a[]", valid_days="days"),
            "consent_id is 'a",
        ),
        (lambda: replace(LIST, query={"c": P.CONSENT_ID}), "Placeholder.CONSENT_ID, which a Snapshot never fills"),
        (lambda: Unlinking(path="/x", body={"p": P.PUBLIC_TOKEN}, gone_codes=()), "unlinking by /x: .*PUBLIC_TOKEN"),
        (
            lambda: InstitutionLookup(path="/x", institution_id="", institution_name="n"),
            "institution lookup by /x: institution_id is ''",
        ),
        (lambda: Consent(lifetime=timedelta(days=5)), "foretold is 7 days.* every consent would be about to end"),
        (lambda: replace(BANK, enrolment=AccessUrlClaim()), r"whose token is a URL; add auth=AccessUrl\(\)"),
        (
            lambda: replace(BANK, enrolment=replace(ENROLMENT, access_token=None), auth=TokenHeader()),
            "enrolment names no access_token, but auth sends the token of each login",
        ),
        (
            lambda: replace(BANK, headers={"X": Text("{access_token}")}),
            r"Placeholder.ACCESS_TOKEN, but they are the same for all logins; use auth=TokenHeader",
        ),
        (lambda: replace(BANK, auth="Bearer"), "provider bank: auth is 'Bearer'"),  # type: ignore[arg-type]
    ],
)
def test_a_declaration_that_cannot_work_is_refused(declare: Callable[[], Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declare()


def test_a_provider_without_enrolment_and_errors_is_complete() -> None:
    assert replace(BANK, auth=AccessUrl(), enrolment=AccessUrlClaim()).remedy("X") == ""
    assert Request(path="/x").verb is Method.GET
    assert Request(path="/x", body={"a": 1}).verb is Method.POST


def test_a_remedy_is_that_of_the_rule_for_the_code_or_of_a_general_one() -> None:
    stop = ErrorAction.STOP_ACCOUNT
    rules = (
        ErrorRule(ErrorAction.RETRY, code="C", remedy="never"),
        ErrorRule(stop, code="A", remedy="specific"),
        ErrorRule(stop, field="type", code="T", remedy="general"),
        ErrorRule(stop, status=402, remedy="payment"),
    )
    provider = replace(BANK, errors=rules)
    assert provider.remedy("HTTP 402") == "payment"
    assert [provider.remedy(code) for code in ("A", "B", "C")] == ["specific", "general", "general"]


@pytest.mark.parametrize("rule", STOPPING, ids=lambda rule: rule.code)
def test_each_rule_of_plaid_that_stops_logins_has_a_remedy_in_whole_sentences(rule: ErrorRule) -> None:
    assert rule.remedy[:1].isupper()
    assert rule.remedy.endswith(".")
    assert PLAID.remedy("ANY_OTHER" if rule.field else str(rule.code)) == rule.remedy


def test_the_remedies_of_plaid_differ() -> None:
    assert len({rule.remedy for rule in STOPPING}) == len(STOPPING) > 1
