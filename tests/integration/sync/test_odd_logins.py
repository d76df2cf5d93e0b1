"""What one login sends or is linked with: however odd it is, the other logins of its chunk are loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.db import migrations
from etl.declare.api.auth import AccessUrl, ApiKey, Auth, Place, RefreshToken, TokenHeader, TokenRequest
from etl.declare.api.paging import LinkHeader, NextLink
from etl.declare.api.quota import Quota
from etl.declare.api.request import Placeholder, Text
from etl.declare.entity import Entity
from etl.settings import Endpoint
from etl.sync.logins.store import provider_accounts
from etl.sync.provider.failures import CREDENTIALS_UNUSABLE
from tests.api_server import ApiServer, Received, Reply
from tests.integration.sync.movements import BANK, LIVE, MOVEMENTS, SOURCE, Rows, movement
from tests.integration.sync.pipeline import Pipeline

WITH_IDS = replace(MOVEMENTS, columns=tuple(replace(column, identity=None) for column in MOVEMENTS.columns))
"""Movements whose records have ids, so that a list of them may be read by links."""

DAYS = {"from": Placeholder.FIRST_DAY, "to": Placeholder.LAST_DAY}
SKIPPED = """
select p.item_id, l.outcome, l.reason
from etl.left_out as l
inner join core.provider_accounts as p using (provider_account_id)
"""


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer(lambda _: Reply({})) as api:
        yield api


@pytest.fixture
def pipeline(scripted_pipeline: Pipeline, api: ApiServer) -> Pipeline:
    """Return the steps of a sync from a provider that the test scripts."""
    migrations.migrate(scripted_pipeline.db, [WITH_IDS])
    scripted_pipeline.endpoint = Endpoint(api.url, login="id", password="s3cret")
    return scripted_pipeline


def link(pipeline: Pipeline, item_id: str, token: str) -> None:
    provider_accounts.enrol(
        pipeline.db, pipeline.cipher, provider="bank", user="u", item_id=item_id, access_token=token
    )


def page(name: str, **more: object) -> dict[str, object]:
    return {"data": {"booked": [movement(name)], "pending": []}, **more}


LINKS = {
    "brackets": "http://[",
    "port": "//h:x/",
    "large port": "http://h:99999/",
    "another host": "http://evil.example/",
    "no host": "http:///x",
    "mail": "mailto:x",
    "half a pair": "\ud83d",
    "lines": "/x\r\ny",
    "long": "x" * 5_000,
    "number": 10**30,
    "list": [],
}
HEADERS = {
    "wait for ever": Reply({}, 429, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2300"}),
    "wait for nothing": Reply({}, 503, {"Retry-After": "1 Jan 1 0:0:0 +" + "9" * 30}),
    "encoding": Reply(b"{}", 200, {"Content-Encoding": "gzip"}),
    "another encoding": Reply(b"{}", 200, {"Content-Encoding": "br"}),
    "long header": Reply(b"{}", 200, {"X": "x" * 50_000}),
    "nul in a header": Reply(b"{}", 200, {"X": "\0"}),
    "redirect": Reply(b"", 302, {"Location": "http://["}),
    "cookie": Reply(b"{}", 200, {"Set-Cookie": "\udcff=;=".encode("utf-8", "replace").decode()}),
    "charset": Reply(b"\xff\xfe", 200, {"Content-Type": "application/json; charset=no"}),
    "link header": Reply(page("x"), 200, {"Link": '<http://[>; rel="next"'}),
    "odd link header": Reply(page("x"), 200, {"Link": '<\xff\x80>; rel="next"'}),
    "huge code": Reply({"error_code": 10**40}, 400),
    "digits": Reply(b'{"error_code": ' + b"9" * 6_000 + b"}", 400),
    "half a code": Reply(b'{"error_code": "\\ud83d"}', 400),
    "list": Reply([[]], 400),
}


def load_odd_logins(pipeline: Pipeline, api: ApiServer, entity: Entity, odd: dict[str, Reply]) -> None:
    """Run a sync of odd logins, each with its own first page, among two that are as they should be."""
    pipeline.entity = entity
    for name in ("first", *odd, "last"):
        link(pipeline, name, "t")

    def respond(request: Received) -> Reply:
        name = request.path.split("/")[2].replace("%20", " ")
        return odd.get(name, Reply(page(name)))

    api.respond = respond
    pipeline.run("run")


def test_an_odd_link_in_a_page_stops_no_other_login(pipeline: Pipeline, api: ApiServer, rows: Rows) -> None:
    source = replace(SOURCE, query=DAYS, paging=NextLink("next"))
    odd = {name: Reply(page(name, next=link)) for name, link in LINKS.items()}
    load_odd_logins(pipeline, api, replace(WITH_IDS, source=source), odd)
    assert rows(LIVE) == [("first",), ("last",)]
    skipped = {name: outcome for name, outcome, _ in rows(SKIPPED)}
    assert skipped.keys() == odd.keys()
    assert set(skipped.values()) <= {"unreachable", "refused"}


def test_odd_headers_and_bodies_stop_no_other_login(pipeline: Pipeline, api: ApiServer, rows: Rows) -> None:
    source = replace(SOURCE, query=DAYS, paging=LinkHeader())
    load_odd_logins(pipeline, api, replace(WITH_IDS, source=source), HEADERS)
    assert {("first",), ("last",)} <= set(rows(LIVE))
    assert {"wait for ever", "encoding", "link header", "digits"} <= {name for name, _, _ in rows(SKIPPED)}


@pytest.mark.parametrize("control", ["\n", "\r", "\0", "\x1b", "\x7f"])
def test_a_token_that_no_header_can_hold_needs_a_login_and_is_not_shown(
    pipeline: Pipeline, api: ApiServer, rows: Rows, control: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = replace(SOURCE, query=DAYS, paging=NextLink("next"))
    pipeline.entity = replace(WITH_IDS, source=source)
    link(pipeline, "odd", f"to{control}ken")
    link(pipeline, "calm", "t")
    api.respond = lambda _: Reply(page("calm"))
    pipeline.run("run")
    assert rows(LIVE) == [("calm",)]
    assert rows(SKIPPED) == [("odd", "stopped", CREDENTIALS_UNUSABLE)]
    assert "ken" not in caplog.text


def test_an_id_that_no_header_can_hold_stops_no_other_login(pipeline: Pipeline, api: ApiServer, rows: Rows) -> None:
    source = replace(SOURCE, query=DAYS, paging=NextLink("next"), headers={"X-Item": Text("item {item_id}")})
    load_odd_logins(pipeline, api, replace(WITH_IDS, source=source), {})
    link(pipeline, "o\ndd", "t")
    pipeline.run("second")
    assert rows(LIVE) == [("first",), ("last",)]
    assert rows(SKIPPED) == [("o\ndd", "stopped", CREDENTIALS_UNUSABLE)]


URLS = {
    "brackets": "http://[",
    "port": "http://h:x/",
    "nothing": "",
    "nul in the path": "{host}/a\0b",
    "lines in the path": "{host}/a\r\nX: y\r\n\r\n",
    "space in the path": "{host}/a b",
    "lines in the name": "{login}\r\nX: y",
}


def test_an_odd_access_url_stops_no_other_login(pipeline: Pipeline, api: ApiServer, rows: Rows) -> None:
    provider = replace(BANK, auth=AccessUrl())
    pipeline.entity = replace(WITH_IDS, provider=provider, source=replace(SOURCE, query=DAYS, paging=NextLink("next")))
    login = api.url.replace("//", "//us:pw@")
    for name, url in {"first": "{login}", **URLS, "last": "{login}"}.items():
        link(pipeline, name, url.format(host=api.url, login=login))
    api.respond = lambda request: Reply(page(request.path.split("/")[2]) if request.path.startswith("/acc") else {})
    pipeline.run("run")
    assert {("first",), ("last",)} <= set(rows(LIVE))
    assert {"brackets", "port", "nothing", "nul in the path"} <= {name for name, _, _ in rows(SKIPPED)}


TOKENS = {
    "int64": {"access": "a", "expires": 2**63 - 1},
    "more than that": {"access": "a", "expires": 10**40},
    "digits": {"access": "a", "expires": "9" * 6_000},
    "long lifetime": {"access": "a", "expires": 10**12 - 1},
    "arabic": {"access": "a", "expires": "٣٦٠٠"},
    "superscript": {"access": "a", "expires": "²"},
    "negative": {"access": "a", "expires": -5},
    "none": {"access": "a", "expires": [None]},
    "lines": {"access": "a\nb", "refresh": "r"},
    "nul": {"access": "a\0b", "refresh": "r"},
    "half a pair": {"access": "\ud83d"},
    "number": {"access": 10**40},
    "refresh lines": {"access": "a", "refresh": "r\nr"},
    "list": [],
}
UNUSABLE = {"lines", "nul", "half a pair", "list"}


def test_an_odd_answer_with_a_token_stops_no_other_login(pipeline: Pipeline, api: ApiServer, rows: Rows) -> None:
    request = TokenRequest(
        path="/oauth",
        body={"token": Placeholder.REFRESH_TOKEN},
        access_token="access",
        expires_in="expires",
        refresh_token="refresh",
    )
    pipeline.entity = replace(
        WITH_IDS,
        provider=replace(BANK, auth=RefreshToken(token=request)),
        source=replace(SOURCE, query=DAYS, paging=NextLink("next")),
    )
    for name in ("first", *TOKENS, "last"):
        link(pipeline, name, name)

    def respond(request: Received) -> Reply:
        if request.path != "/oauth":
            return Reply(page(request.path.split("/")[2].replace("%20", " ")))
        return Reply(TOKENS.get(json.loads(request.body)["token"], {"access": "a"}))

    api.respond = respond
    pipeline.run("run")
    assert {name for (name,) in rows(LIVE)} == {"first", "last", *TOKENS} - UNUSABLE
    assert {(name, outcome) for name, outcome, _ in rows(SKIPPED)} == {(name, "unreachable") for name in UNUSABLE}
    assert rows("select max(expires_at) < now() + interval '367 days' from etl.provider_tokens") == [(True,)]


@pytest.mark.parametrize("auth", [ApiKey("key", Place.QUERY), TokenHeader()])
@pytest.mark.parametrize("paging", [LinkHeader(), NextLink("next")])
def test_a_secret_that_the_provider_echoes_in_a_link_is_not_kept(
    pipeline: Pipeline, api: ApiServer, rows: Rows, auth: Auth, paging: LinkHeader | NextLink
) -> None:
    source = replace(
        SOURCE,
        query=DAYS if isinstance(auth, ApiKey) else {**DAYS, "key": Placeholder.CLIENT_SECRET},
        paging=paging,
        quota=Quota(calls=2, per=timedelta(days=1)),
    )
    pipeline.entity = replace(WITH_IDS, source=source, provider=replace(BANK, auth=auth))
    link(pipeline, "a", "t")

    def respond(request: Received) -> Reply:
        number = int(request.query.get("page", "1"))
        link = f"{api.url.replace('//', '//us:s3cret@')}{request.path}?key=s3cret&page={number + 1}&k%65y=s3cret#x"
        return Reply(page(f"m{number}", next=link), headers={"Link": f'<{link}>; rel="next"'})

    api.respond = respond
    pipeline.run("run")
    assert [request.query["key"] for request in api.requests] == ["s3cret"] * 2
    assert [request.raw_path.count("s3cret") for request in api.requests] == [1, 1]
    ((position,),) = rows("select cursor_to from etl.unfinished_downloads")
    assert position.endswith(f"{api.url}/accounts/a/movements?page=3")
