"""Calls as the proxy of the conformance kit understands them."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from etl.conform import calls, edits, shape
from etl.conform.calls import Call
from etl.conform.reel import Page, Reel
from etl.conform.verdict import NotApplicable
from etl.declare.api.paging import (
    Flag,
    LinkHeader,
    NextLink,
    OffsetPaging,
    PageNumberPaging,
    Paging,
    ShortPage,
    TokenPaging,
    Total,
)
from etl.declare.api.request import Encoding, Placeholder
from etl.declare.provider import ErrorAction, ErrorRule, Provider
from etl.declare.source import Feed, Snapshot

FEED = Feed(
    name="feed",
    path="/items/{item_id}/changes",
    body={"options": {"cursor": Placeholder.CURSOR}, "count": Placeholder.PAGE_SIZE},
    upserts=("added[]",),
    deletes=("removed[]",),
    cursor="page.next",
    more="page.more",
)


def listing(paging: Paging, **request: Any) -> Snapshot:
    return Snapshot(name="list", path="/records", upserts=("records[]",), paging=paging, **request)


def call(target: str, body: bytes = b"", method: str = "GET", **headers: str) -> Call:
    return Call(method, target, {"host": "127.0.0.1", **headers}, body)


@pytest.mark.parametrize(
    ("source", "asked", "position"),
    [
        (FEED, call("/v1/items/a/changes", b'{"options": {"cursor": "c1"}}', "POST"), "c1"),
        (FEED, call("/v1/items/a/changes", b'{"options": {}}', "POST"), ""),
        (
            listing(PageNumberPaging(end=Total("total")), query={"page": Placeholder.PAGE_NUMBER}),
            call("/records?size=9&page=2"),
            "2",
        ),
        (
            listing(OffsetPaging(end=Total("total")), body={"skip": Placeholder.OFFSET}, encoding=Encoding.FORM),
            call("/records", b"skip=20&a=b", "POST"),
            "20",
        ),
        (
            listing(TokenPaging("next"), headers={"X-Page": Placeholder.PAGE_TOKEN}),
            Call("GET", "/records", {"host": "127.0.0.1", "x-page": "t"}, b""),
            "t",
        ),
    ],
)
def test_the_position_of_a_page_is_where_the_declaration_has_its_placeholder(
    source: Feed | Snapshot, asked: Call, position: str
) -> None:
    assert calls.asks_for(asked, source)
    assert calls.position_of(asked, source) == position


def test_a_call_for_the_next_page_has_another_position_and_is_else_the_same() -> None:
    asked = call("/v1/items/a/changes", b'{"options": {}, "count": 5}', "POST")
    beyond = calls.with_position(asked, FEED, "c9")
    assert beyond is not None
    assert json.loads(beyond.body) == {"options": {"cursor": "c9"}, "count": 5}
    numbered = listing(PageNumberPaging(end=Total("total")), query={"page": Placeholder.PAGE_NUMBER})
    beyond = calls.with_position(call("/records?size=9&page=2"), numbered, 3)
    assert beyond is not None
    assert beyond.target == "/records?size=9&page=3"


def test_a_login_is_known_by_its_longest_credential_also_in_basic_authorization() -> None:
    credentials = [["item-1"], ["item-10", "user-b"]]
    assert calls.find_login(call("/items/item-10/changes"), credentials) == 1
    basic = b64encode(b"user-b:password").decode()
    assert calls.find_login(call("/records", authorization=f"Basic {basic}"), credentials) == 1
    assert calls.find_login(call("/records"), credentials) is None


def test_a_link_to_the_next_page_is_followed_whether_relative_absolute_or_in_a_header() -> None:
    relative = listing(NextLink("links.next"))
    assert calls.next_target(relative, Page("", {"links": {"next": "?from=3"}})) == "/records?from=3"
    absolute = Page("", {"links": {"next": "https://provider.invalid/v1/next?from=3"}})
    assert calls.next_target(relative, absolute) == "/v1/next?from=3"
    header = Page("", {}, link='<https://provider.invalid/next>; rel="next"')
    assert calls.next_target(listing(LinkHeader()), header) == "/next"
    assert calls.is_at(call("/next?key=secret"), "/next")
    assert calls.next_target(relative, Page("", {"links": {"next": None}})) == ""


def test_a_page_can_lead_elsewhere_unless_requests_count() -> None:
    page = Page("c1", {"page": {"next": "c2", "more": False}, "added": []})
    led = edits.lead_to(FEED, page, "c1")
    assert led.document["page"] == {"next": "c1", "more": True}
    assert page.document["page"]["next"] == "c2"
    counted = listing(PageNumberPaging(end=Total("total")), query={"page": Placeholder.PAGE_NUMBER})
    with pytest.raises(NotApplicable, match="its requests count pages or records"):
        edits.lead_to(counted, page, "1")


def test_a_feed_goes_on_behind_its_end_with_a_removal() -> None:
    pages = [Page("", {"page": {"next": "c1", "more": False}, "added": [{"id": 1}], "removed": []})]
    reel = Reel("feed", 10, [pages])
    edits.append_to_feed(FEED, reel, 0, "removed[]", {"id": 1})
    first, second = reel.logins[0]
    assert first.document["page"]["more"] is True
    assert (second.position, second.document["added"], second.document["removed"]) == ("c1", [], [{"id": 1}])
    assert second.document["page"] == {"next": edits.LATER_CURSOR, "more": False}


def test_a_list_that_loses_its_first_record_shifts_with_its_overlap_and_its_total() -> None:
    source = listing(
        OffsetPaging(end=Total("total"), identity="id"),
        query={"skip": Placeholder.OFFSET, "size": Placeholder.PAGE_SIZE},
    )
    pages = [
        Page("", {"records": [{"id": 1}, {"id": 2}, {"id": 3}], "total": 5}),
        Page("2", {"records": [{"id": 3}, {"id": 4}, {"id": 5}], "total": 5}),
    ]
    meanwhile, anew = edits.shift(source, Reel("list", 3, [pages]), 0)
    assert [page.document["total"] for page in anew.logins[0]] == [4, 4]
    assert [[each["id"] for each in page.document["records"]] for page in anew.logins[0]] == [[2, 3, 4], [4, 5]]
    assert meanwhile.logins[0][0].document == pages[0].document
    assert meanwhile.logins[0][1].document == anew.logins[0][1].document


@pytest.mark.parametrize(
    ("rule", "status", "body"),
    [
        (ErrorRule(ErrorAction.STOP_ACCOUNT, code="GONE"), 400, {"error_code": "GONE"}),
        (ErrorRule(ErrorAction.STOP_ACCOUNT, status=402), 402, {}),
        (
            ErrorRule(ErrorAction.STOP_ACCOUNT, status=200, field="errors[].text", code="*log in*"),
            200,
            {"errors": [{"text": "log in"}]},
        ),
        (ErrorRule(ErrorAction.STOP_ACCOUNT, field="error.details[]", code="X"), 400, {"error": {"details": ["X"]}}),
    ],
)
def test_an_error_is_made_so_that_its_rule_matches(rule: ErrorRule, status: int, body: dict[str, Any]) -> None:
    provider = Provider(name="bank", connection="bank", errors=(rule,))
    answer = shape.error_answer(provider, ErrorAction.STOP_ACCOUNT)
    assert answer is not None
    assert (answer[0], json.loads(answer[1])) == (status, body)
    assert shape.error_answer(provider, ErrorAction.RESTART_FEED) is None


def test_numbers_of_a_page_stay_as_they_were_sent() -> None:
    text = b'{"amount":12.30,"id":9007199254740993,"tiny":0.10000000000000000001}'
    assert shape.encode(shape.decode(text)) == text


def test_the_page_behind_the_last_is_known_from_what_the_pages_say() -> None:
    short = listing(
        PageNumberPaging(end=ShortPage()), query={"page": Placeholder.PAGE_NUMBER, "size": Placeholder.PAGE_SIZE}
    )
    assert calls.position_after(short, [Page("1", {"records": [1]}), Page("2", {"records": []})]) == 3
    tokens = listing(TokenPaging("next", end=Flag("more")), query={"page": Placeholder.PAGE_TOKEN})
    assert calls.position_after(tokens, [Page("", {"next": "t1", "more": False})]) == "t1"
    assert calls.position_after(tokens, [Page("", {"next": "", "more": False})]) is None
    assert calls.position_after(FEED, [Page("", {"page": {"next": "c1"}})]) == "c1"
