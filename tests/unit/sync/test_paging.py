"""Lists of every kind of paging and end rule, read to their end from a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any, cast

import msgspec
import pytest

from etl.chunking import DayRange
from etl.clients.rate_limits import Limiter
from etl.declare.api.paging import (
    EmptyPage,
    EndRule,
    Flag,
    LinkHeader,
    NextLink,
    OffsetPaging,
    PageNumberPaging,
    Paging,
    ShortPage,
    TokenPaging,
    Total,
    TotalPages,
)
from etl.declare.api.request import Placeholder
from etl.declare.provider import ErrorAction, Provider
from etl.declare.source import Feed, Listing, Recent, Snapshot
from etl.settings import Endpoint
from etl.sync.provider.client import ProviderCallFailed, open_client
from etl.sync.provider.pager import find_link
from etl.sync.provider.pages import AccountReader, FeedPosition, is_continuable
from etl.sync.records.frames import Header
from tests.api_server import ApiServer, Received, Reply

BANK = Provider(name="bank", connection="bank", retries=0)
SIZE = 3
ROWS = [{"id": f"r{number}", "n": number} for number in range(7)]
Respond = Callable[[Received], Reply]


def listing(paging: Paging, **query: object) -> Listing:
    return Snapshot(
        name="rows",
        path="/rows",
        query={"size": Placeholder.PAGE_SIZE, **query},
        upserts=("data.rows[]",),
        page_size=SIZE,
        paging=paging,
    )


def envelope(start: int, **meta: Any) -> dict[str, Any]:
    """Return the page of ROWS at an offset, in an envelope."""
    return {"data": {"rows": ROWS[start : start + SIZE]}, "meta": {"total": len(ROWS), "pages": 3, **meta}}


def read(source: Listing, respond: Respond, **begin: Any) -> tuple[list[int], list[Header], list[Received]]:
    """Read a list; return the records, the headers of the pages and the requests."""
    headers: list[Header] = []
    numbers: list[int] = []

    async def collect() -> None:
        async with open_client(BANK, Endpoint(server.url), cast("Limiter", None)) as client:
            reader = AccountReader(client, 1, "token", source.page_size, item_id="a")
            async for header, body in reader.read_list(source, **begin):
                headers.append(header)
                numbers.extend(row["n"] for row in msgspec.json.decode(body)["data"]["rows"])

    with ApiServer(respond) as server:
        asyncio.run(collect())
        return numbers, headers, server.requests


@pytest.mark.parametrize(
    "end",
    [
        EmptyPage(),
        ShortPage(),
        Total("meta.total"),
        TotalPages("meta.pages"),
        Flag("meta.more"),
        Flag("meta.last", more=False),
    ],
    ids=lambda end: type(end).__name__,
)
@pytest.mark.parametrize("first", [0, 1])
def test_a_list_of_numbered_pages_is_read_to_its_end(end: EndRule, first: int) -> None:
    def respond(request: Received) -> Reply:
        start = (int(request.query["page"]) - first) * SIZE
        return Reply(envelope(start, more=start + SIZE < len(ROWS), last=start + SIZE >= len(ROWS)))

    source = listing(PageNumberPaging(first=first, end=end), page=Placeholder.PAGE_NUMBER)
    numbers, headers, requests = read(source, respond)
    assert numbers == list(range(7))
    assert [header.page for header in headers] == list(range(len(requests)))
    assert len(requests) == (4 if isinstance(end, EmptyPage) else 3)


@pytest.mark.parametrize("end", [EmptyPage(), ShortPage(), Total("meta.total")], ids=lambda end: type(end).__name__)
@pytest.mark.parametrize("identity", ["id", None])
def test_a_list_with_offsets_is_read_to_its_end(end: EndRule, identity: str | None) -> None:
    source = listing(OffsetPaging(end=end, identity=identity), offset=Placeholder.OFFSET)
    numbers, _, requests = read(source, lambda request: Reply(envelope(int(request.query.get("offset", 0)))))
    assert list(dict.fromkeys(numbers)) == list(range(7))
    assert "offset" not in requests[0].query
    assert identity or len(numbers) == 7


@pytest.mark.parametrize("last", [None, "", "absent"])
def test_a_list_with_tokens_ends_with_a_page_without_one(last: str | None) -> None:
    def respond(request: Received) -> Reply:
        start = int(request.query.get("token", "t0")[1:])
        token = f"t{start + SIZE}" if start + SIZE < len(ROWS) else last
        page = envelope(start, next=token)
        if token == "absent":
            del page["meta"]["next"]
        return Reply(page)

    source = listing(TokenPaging("meta.next"), token=Placeholder.PAGE_TOKEN)
    numbers, _, requests = read(source, respond)
    assert numbers == list(range(7))
    assert [request.query.get("token") for request in requests] == [None, "t3", "t6"]


@pytest.mark.parametrize("form", ["{host}/rows?at={at}", "/rows?at={at}", "?at={at}"])
def test_a_list_follows_the_links_in_its_pages(form: str) -> None:
    def respond(request: Received) -> Reply:
        start = int(request.query.get("at", 0))
        link = form.format(host=f"http://{request.headers['host']}", at=start + SIZE)
        return Reply(envelope(start, next=link if start + SIZE < len(ROWS) else None))

    numbers, _, requests = read(listing(NextLink("meta.next")), respond)
    assert numbers == list(range(7))
    assert [request.raw_path for request in requests] == ["/rows?size=3", "/rows?at=3", "/rows?at=6"]


def test_a_list_follows_the_link_header() -> None:
    def respond(request: Received) -> Reply:
        start = int(request.query.get("at", 0))
        links = f'</rows?at=0>; rel="first", </rows?at={start + SIZE}>; rel="next"' if start + SIZE < len(ROWS) else ""
        return Reply(envelope(start), headers={"Link": links} if links else {})

    assert read(listing(LinkHeader()), respond)[0] == list(range(7))


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ("", ""),
        ('<https://a/?x=1,2>; rel="next"', "https://a/?x=1,2"),
        ('<a>; rel="prev", <b>; title="x"; rel="last next"', "b"),
        ("<c>; REL=Next", "c"),
        ("<d>; rel=nextish", ""),
        ("garbage", ""),
    ],
)
def test_the_link_with_a_relation_is_found_in_a_link_header(header: str, url: str) -> None:
    assert find_link({"Link": header}, "next") == url


def failure(source: Listing, respond: Respond) -> ProviderCallFailed:
    with pytest.raises(ProviderCallFailed) as caught:
        read(source, respond)
    return caught.value


def test_a_server_that_does_not_know_the_page_parameter_is_found_out() -> None:
    source = listing(PageNumberPaging(end=EmptyPage()), seite=Placeholder.PAGE_NUMBER)
    error = failure(source, lambda _: Reply(envelope(0)))
    assert "page 2 is the same as the page before" in error.code


def test_a_token_that_comes_again_is_a_list_without_an_end() -> None:
    source = listing(TokenPaging("meta.next"), token=Placeholder.PAGE_TOKEN)
    assert "does not end, after 2 pages" in failure(source, lambda _: Reply(envelope(0, next="t"))).code


def test_a_total_that_changes_restarts_the_list() -> None:
    source = listing(PageNumberPaging(end=Total("meta.total")), page=Placeholder.PAGE_NUMBER)
    error = failure(source, lambda request: Reply(envelope(0, total=6 + int(request.query["page"]))))
    assert error.action is ErrorAction.RESTART_FEED


def test_a_list_that_ends_before_its_total_restarts() -> None:
    source = listing(PageNumberPaging(end=Total("meta.total")), page=Placeholder.PAGE_NUMBER)
    error = failure(source, lambda request: Reply(envelope((int(request.query["page"]) - 1) * SIZE, total=50)))
    assert error.action is ErrorAction.RESTART_FEED


@pytest.mark.parametrize("page", [{"data": {}}, {"data": None}, {"rows": []}, {"data": {"rows": None}}])
def test_a_page_without_its_list_is_no_empty_page(page: dict[str, Any]) -> None:
    source = listing(PageNumberPaging(end=EmptyPage()), page=Placeholder.PAGE_NUMBER)
    assert "not JSON of the declared shape" in failure(source, lambda _: Reply(page)).code


def test_an_optional_list_may_be_absent() -> None:
    source = Snapshot(
        name="t", path="/t", upserts=("data.rows[]", "data.pending[]"), optional=("data.pending[]",), page_size=SIZE
    )
    assert read(source, lambda _: Reply(envelope(0)))[0] == [0, 1, 2]


def recent(paging: Paging) -> Recent:
    return Recent(
        name="t",
        path="/t",
        query={"from": Placeholder.FIRST_DAY, "to": Placeholder.DAY_AFTER_LAST, "page": Placeholder.PAGE_NUMBER},
        upserts=("data.rows[]",),
        page_size=SIZE,
        paging=paging,
        days=30,
        dated_by="day",
    )


def test_recent_days_are_read_from_where_an_earlier_attempt_stopped() -> None:
    days = DayRange(date(2026, 11, 1), date(2026, 11, 30))
    source = recent(PageNumberPaging(end=TotalPages("meta.pages")))
    respond: Respond = lambda request: Reply(envelope((int(request.query["page"]) - 1) * SIZE))  # noqa: E731
    numbers, headers, requests = read(source, respond, days=days)
    assert numbers == list(range(7))
    assert {(request.query["from"], request.query["to"]) for request in requests} == {("2026-11-01", "2026-12-01")}
    positions = ["", "2026-11-01/2026-11-30/3/0/3:2", "2026-11-01/2026-11-30/3/0/6:3", ""]
    assert [(header.cursor_from, header.cursor_to) for header in headers] == list(pairwise(positions))
    assert {(header.first_day, header.last_day, header.whole) for header in headers} == {(days.first, days.last, True)}
    numbers, headers, _ = read(source, respond, days=days, state=positions[2], pages=2)
    assert numbers == [6]
    assert [(header.page, header.whole) for header in headers] == [(2, False)]


def test_a_window_that_is_longer_than_the_provider_allows_is_read_in_parts_that_can_be_continued() -> None:
    days = DayRange(date(2026, 9, 1), date(2026, 11, 30))
    source = replace(recent(PageNumberPaging(end=TotalPages("meta.pages"))), days_per_request=45)
    respond: Respond = lambda request: Reply(envelope((int(request.query["page"]) - 1) * SIZE, pages=2))  # noqa: E731
    numbers, headers, requests = read(source, respond, days=days)
    assert numbers == [*range(6)] * 3
    assert [(request.query["from"], request.query["to"]) for request in requests[::2]] == [
        ("2026-09-01", "2026-10-16"),
        ("2026-10-16", "2026-11-30"),
        ("2026-11-30", "2026-12-01"),
    ]
    parts = ["2026-09-01/2026-10-15/3/0/", "2026-10-16/2026-11-29/3/2/", "2026-11-30/2026-11-30/3/4/"]
    positions = ["", *[f"{part}{state}" for part in parts for state in ("", "3:2")][1:], ""]
    assert [(header.cursor_from, header.cursor_to) for header in headers] == list(pairwise(positions))
    assert [header.page for header in headers] == [*range(6)]
    assert {(header.first_day, header.last_day, header.whole) for header in headers} == {(days.first, days.last, True)}
    for done in range(1, 6):
        _, rest, asked = read(source, respond, days=days, state=positions[done], pages=done)
        assert [each.query for each in asked] == [each.query for each in requests[done:]]
        assert [(header.page, header.cursor_to) for header in rest] == [
            (header.page, header.cursor_to) for header in headers[done:]
        ]


def test_pages_are_continued_only_if_days_and_records_are_still_requested_in_the_same_parts() -> None:
    days = DayRange(date(2026, 9, 1), date(2026, 11, 30))
    source = replace(recent(PageNumberPaging(end=TotalPages("meta.pages"))), days_per_request=45)
    first, second, last = "2026-09-01/2026-10-15/3/0/3:2", "2026-10-16/2026-11-29/3/2/", "2026-11-30/2026-11-30/3/4/3:2"
    for state in ("", first, second, last):
        assert is_continuable(source, days, state, page_size=3)
    assert not is_continuable(replace(source, days_per_request=15), days, first, page_size=3)
    assert not is_continuable(replace(source, days_per_request=None), days, second, page_size=3)
    assert not is_continuable(source, days, first, page_size=2)
    by_token = replace(source, query={**source.query, "page": Placeholder.PAGE_TOKEN}, paging=TokenPaging("next"))
    assert is_continuable(by_token, days, first, page_size=2)


def test_a_feed_may_be_in_an_envelope_and_end_with_an_empty_page() -> None:
    feed = Feed(
        name="f",
        path="/f",
        query={"since": Placeholder.CURSOR},
        upserts=("data.rows[]",),
        cursor="meta.cursor",
        more=EmptyPage(),
        page_size=SIZE,
    )

    def respond(request: Received) -> Reply:
        start = int(request.query.get("since", 0))
        return Reply(envelope(start, cursor=str(min(start + SIZE, len(ROWS)))))

    async def collect() -> list[tuple[str, str]]:
        async with open_client(BANK, Endpoint(server.url), cast("Limiter", None)) as client:
            pages = AccountReader(client, 1, "token", SIZE).read_feed(feed, FeedPosition(""))
            return [(header.cursor_from, header.cursor_to) async for header, _ in pages]

    with ApiServer(respond) as server:
        assert asyncio.run(collect()) == [("", "3"), ("3", "6"), ("6", "7"), ("7", "7")]
