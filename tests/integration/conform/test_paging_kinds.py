"""The conformance kit, against each way in which the pages of a list follow one another, and each way to authorise."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from etl.conform import kit
from etl.conform.kit import Provided
from etl.conform.verdict import Result, find_wrong
from etl.declare.api.auth import ApiKey, Auth, BasicAuth, Place, RefreshToken, TokenHeader, TokenRequest
from etl.declare.api.paging import LinkHeader, NextLink, OffsetPaging, Paging, TokenPaging, Total
from etl.declare.api.request import Encoding, Placeholder
from etl.declare.source import Snapshot
from etl.settings import Endpoint
from tests.api_server import ApiServer, Received, Reply
from tests.integration.conform.movements import BANK, ITEMS, MOVEMENTS, movement

RECORDS = 9
SIZE = 3


@dataclass(frozen=True)
class Kind:
    """A way of paging and of authorization, and how a server answers it."""

    auth: Auth
    paging: Paging
    request: dict[str, Any]
    start: Callable[[dict[str, str]], int]
    follow: Callable[[ApiServer, int], tuple[dict[str, Any], dict[str, str]]]


def token_of(start: int) -> str:
    return f"page-{start}" if start < RECORDS else ""


def link_of(api: ApiServer, start: int) -> str | None:
    return f"{api.url}/v1/accounts/next?from={start}" if start < RECORDS else None


KINDS = {
    "offset": Kind(
        TokenHeader(),
        OffsetPaging(end=Total("total"), identity="id"),
        {"query": {"offset": Placeholder.OFFSET, "item": Placeholder.ITEM_ID, "size": Placeholder.PAGE_SIZE}},
        lambda fields: int(fields.get("offset", 0)),
        lambda _, start: ({"total": RECORDS}, {}),
    ),
    "token in a form": Kind(
        BasicAuth(Placeholder.CLIENT_ID, Placeholder.ACCESS_TOKEN),
        TokenPaging("meta.next"),
        {"body": {"page": Placeholder.PAGE_TOKEN, "item": Placeholder.ITEM_ID}, "encoding": Encoding.FORM},
        lambda fields: int(fields.get("page", "page-0").removeprefix("page-")),
        lambda _, start: ({"meta": {"next": token_of(start)}}, {}),
    ),
    "link in the body": Kind(
        RefreshToken(
            token=TokenRequest(
                path="/token",
                body={"refresh": Placeholder.REFRESH_TOKEN},
                access_token="access",
                refresh_token="refresh",
            )
        ),
        NextLink("links.next"),
        {"query": {"item": Placeholder.ITEM_ID}},
        lambda fields: int(fields.get("from", 0)),
        lambda api, start: ({"links": {"next": link_of(api, start)}}, {}),
    ),
    "link in a header": Kind(
        ApiKey("key", Place.QUERY, Placeholder.ACCESS_TOKEN),
        LinkHeader(),
        {"query": {"item": Placeholder.ITEM_ID}},
        lambda fields: int(fields.get("from", 0)),
        lambda api, start: ({}, {"Link": f'<{link_of(api, start)}>; rel="next"'} if start < RECORDS else {}),
    ),
}


def serve(kind: Kind) -> ApiServer:
    """Return a server that answers as a kind does; who asks is the last digit of the credentials."""

    def respond(request: Received) -> Reply:
        body = request.body.decode()
        if request.path.endswith("/token"):
            token = json.loads(body)["refresh"]
            return Reply({"access": token.replace("secret", "issued"), "refresh": token})
        fields = {**request.query, **dict(parse_qsl(body))}
        credentials = request.headers.get("authorization") or fields["key"]
        if credentials.startswith("Basic "):
            credentials = b64decode(credentials.removeprefix("Basic ")).decode()
        start = kind.start(fields)
        page = [movement(credentials[-1], ordinal) for ordinal in range(start, min(start + SIZE, RECORDS))]
        more, headers = kind.follow(api, start + SIZE)
        return Reply({"records": page, **more}, 200, headers)

    api = ApiServer(respond)
    return api


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_paging_and_authorization_is_recorded_without_secrets_and_played(
    name: str, server: Endpoint, tmp_path: Path
) -> None:
    kind = KINDS[name]
    source = Snapshot(
        name="movements_list",
        path="/accounts",
        upserts=("records[]",),
        paging=kind.paging,
        page_size=SIZE,
        **kind.request,
    )
    entity = replace(MOVEMENTS, provider=replace(BANK, auth=kind.auth), source=source)
    with serve(kind) as api:
        provided = Provided(
            Endpoint(f"{api.url}/v1", login="client-1", password="client-secret"), ITEMS, record=tmp_path
        )
        verdicts = kit.conform([entity], provided, server=server, only=["cursor goes back"])
    assert find_wrong(verdicts) == []
    undisturbed, back = verdicts
    assert undisturbed.reason.startswith("18 rows of 2 logins from ")
    assert (back.result is Result.OK) == (name != "offset")
    recording = (tmp_path / "movements_list.json").read_text()
    assert not any(secret in recording for secret in ("token-0", "token-1", "client-secret", "127.0.0.1"))
