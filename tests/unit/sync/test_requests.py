"""Requests as they arrive at a provider: method, path, query, body, and how they are authorised."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any, cast

import pytest

from etl.catalog.providers.plaid import PLAID, TRANSACTIONS_GET, TRANSACTIONS_SYNC
from etl.clients.rate_limits import Limiter
from etl.declare.api.auth import AccessUrl, ApiKey, Auth, BasicAuth, Place, TokenHeader
from etl.declare.api.request import Day, Encoding, Epoch, Method, Placeholder, Request, Text
from etl.declare.provider import Provider
from etl.errors import ProviderRefused
from etl.settings import Endpoint
from etl.sync.provider.client import open_client
from etl.sync.provider.requests import clean_link
from tests.api_server import ApiServer, Received, Reply

NO_LIMITER = cast("Limiter", None)
"""Requests without limits never use it."""
BANK = Provider(name="bank", connection="bank", retries=0)
LOGIN: dict[Placeholder, object] = {Placeholder.ACCESS_TOKEN: "t0ken", Placeholder.ITEM_ID: "a/b ü"}


def send(
    provider: Provider, request: Request, values: Mapping[Placeholder, object] = LOGIN, *, link: str = ""
) -> Received:
    """Send one request, and return it as it arrived."""
    with ApiServer(lambda _: Reply({})) as server:
        values = {
            name: value.replace("HOST", server.url[7:]) if isinstance(value, str) else value
            for name, value in values.items()
        }
        endpoint = Endpoint(f"{server.url}/base/", login="id", password="secret")

        async def call() -> None:
            async with open_client(provider, endpoint, NO_LIMITER) as client:
                await client.send(request, values, parse=lambda _: None, link=link)

        asyncio.run(call())
        (received,) = server.requests
        return received


def test_plaids_requests_are_on_the_wire_as_they_always_were() -> None:
    values = {
        **LOGIN,
        Placeholder.PAGE_SIZE: 500,
        Placeholder.CURSOR: "c",
        Placeholder.FIRST_DAY: date(2026, 11, 1),
        Placeholder.LAST_DAY: date(2026, 11, 30),
    }
    received = send(PLAID, TRANSACTIONS_SYNC, values)
    assert (received.method, received.raw_path) == ("POST", "/base/transactions/sync")
    assert received.body == b'{"access_token":"t0ken","cursor":"c","count":500}'
    expected = {"plaid-client-id": "id", "plaid-secret": "secret", "plaid-version": "2020-09-14"}
    assert {**expected, "content-type": "application/json"}.items() <= received.headers.items()
    assert "authorization" not in received.headers
    window = send(PLAID, TRANSACTIONS_GET, values)
    assert window.body == (
        b'{"access_token":"t0ken","start_date":"2026-11-01","end_date":"2026-11-30","options":{"count":500}}'
    )


def test_a_request_without_a_body_is_a_get_with_an_encoded_path_and_query() -> None:
    request = Request(
        path="/accounts/{item_id}/transactions",
        query={
            "from": Day(Placeholder.FIRST_DAY, "%d.%m.%Y"),
            "since": Day(Placeholder.FIRST_DAY, Epoch.SECONDS),
            "ms": Day(Placeholder.FIRST_DAY, Epoch.MILLISECONDS),
            "page": Placeholder.PAGE_NUMBER,
            "cursor": Placeholder.CURSOR,
            "all": True,
            "tag": "a b&c",
        },
        headers={"X-Item": Text("item {item_id}!")},
    )
    values = {**LOGIN, Placeholder.ITEM_ID: "a/b", Placeholder.FIRST_DAY: date(2026, 11, 5), Placeholder.PAGE_NUMBER: 0}
    received = send(BANK, request, values)
    assert received.raw_path.partition("?")[0] == "/base/accounts/a%2Fb/transactions"
    assert received.query == {
        "from": "05.11.2026",
        "since": "1793836800",
        "ms": "1793836800000",
        "page": "0",
        "all": "true",
        "tag": "a b&c",
    }
    assert (received.method, received.body, received.headers["x-item"]) == ("GET", b"", "item a/b!")
    assert "content-type" not in received.headers


def test_a_form_is_sent_as_a_form_and_another_method_as_declared() -> None:
    request = Request(
        path="/t", method=Method.PUT, body={"a": "ü &", "n": 5, "c": Placeholder.CURSOR}, encoding=Encoding.FORM
    )
    received = send(BANK, request)
    assert (received.method, received.body) == ("PUT", b"a=%C3%BC+%26&n=5")
    assert received.headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (TokenHeader(), {"authorization": "Bearer t0ken"}),
        (TokenHeader(Text("Token token={access_token}"), header="X-Auth"), {"x-auth": "Token token=t0ken"}),
        (BasicAuth(), {"authorization": "Basic aWQ6c2VjcmV0"}),
        (BasicAuth(username=Placeholder.ACCESS_TOKEN, password=Text("x")), {"authorization": "Basic dDBrZW46eA=="}),
        (ApiKey("X-Api-Key"), {"x-api-key": "secret"}),
    ],
)
def test_a_request_is_authorised_by_a_header(auth: Auth, expected: dict[str, str]) -> None:
    assert expected.items() <= send(replace(BANK, auth=auth), Request(path="/x")).headers.items()


@pytest.mark.parametrize(
    ("link", "query"), [("", {"a": "1", "key": "secret"}), ("/base/x?p=2", {"p": "2", "key": "secret"})]
)
def test_an_api_key_in_the_query_is_added_to_each_request_and_link(link: str, query: dict[str, str]) -> None:
    provider = replace(BANK, auth=ApiKey("key", Place.QUERY))
    assert send(provider, Request(path="/x", query={"a": 1}), link=link).query == query


def test_an_access_url_replaces_the_address_and_gives_name_and_password() -> None:
    values = {Placeholder.ACCESS_TOKEN: "http://us%40er:p%3Aw@HOST/simplefin/"}
    received = send(replace(BANK, auth=AccessUrl()), Request(path="/accounts"), values)
    assert received.raw_path == "/simplefin/accounts"
    assert received.headers["authorization"] == "Basic dXNAZXI6cDp3"


@pytest.mark.parametrize(
    "url", ["http://u:p@127.0.0.1:1/x", "https://u:p@HOST/x", "file:///etc/passwd", "", "http://HOST@evil/"]
)
def test_an_access_url_on_another_host_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ProviderRefused, match=r"an address that is not on http://127\.0\.0\.1") as caught:
        send(replace(BANK, auth=AccessUrl()), Request(path="/accounts"), {Placeholder.ACCESS_TOKEN: url})
    assert "u:p" not in str(caught.value)


def test_a_link_to_another_host_is_refused_so_that_no_secret_goes_there() -> None:
    with pytest.raises(ProviderRefused, match="an address that is not on"):
        send(replace(BANK, auth=TokenHeader()), Request(path="/x"), link="http://evil.example/next")


def test_a_login_without_an_id_is_refused_where_the_path_needs_one() -> None:
    with pytest.raises(ProviderRefused, match=r"/a/{item_id}: {item_id} has no value for this login"):
        send(BANK, Request(path="/a/{item_id}"), {Placeholder.ITEM_ID: ""})


def test_a_login_without_a_token_is_refused_where_a_header_needs_one() -> None:
    with pytest.raises(ProviderRefused, match=r"needs Bearer {access_token} in each request"):
        send(replace(BANK, auth=TokenHeader()), Request(path="/a"), {Placeholder.ACCESS_TOKEN: ""})


def test_headers_of_a_provider_that_http_cannot_send_are_refused_without_their_text() -> None:
    with pytest.raises(ProviderRefused, match="/x: the request or its response is not valid HTTP") as caught:
        send(replace(BANK, headers={"X": Text("{client_id}\nsecret")}), Request(path="/x"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("link", ["http://[", "//h:x/", "http://h:99999/"])
def test_a_link_that_is_no_url_is_refused(link: str) -> None:
    with pytest.raises(ProviderRefused, match="/x has a next page that is no URL"):
        send(BANK, Request(path="/x"), link=link)


@pytest.mark.parametrize(
    ("link", "cleaned"),
    [
        ("", ""),
        ("?page=2&key=s&k%65y=s&keys=1&flag", "?page=2&keys=1&flag"),
        ("http://us:s@h:1/a%20b?key=s&p=%26#key=s", "http://h:1/a%20b?p=%26"),
        ("//us:s@h/x", "//h/x"),
    ],
)
def test_a_link_is_kept_without_what_may_be_secret(link: str, cleaned: str) -> None:
    assert clean_link(link, {"key"}) == cleaned


def test_json_bodies_may_be_nested() -> None:
    body: dict[str, Any] = {"a": {"b": Placeholder.ACCESS_TOKEN, "c": Placeholder.CURSOR}}
    assert json.loads(send(BANK, Request(path="/x", body=body)).body) == {"a": {"b": "t0ken"}}
