"""Calls of a quota: one is taken for each request that is sent, and for no other."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.db import migrations
from etl.declare.api.auth import ClientCredentials, TokenRequest
from etl.declare.api.quota import Quota
from etl.declare.api.request import Placeholder
from etl.errors import ProviderRefused, TransientError
from etl.settings import Endpoint
from tests.api_server import ApiServer, Received, Reply
from tests.integration.sync.movements import MOVEMENTS, SOURCE, Bank, Rows, enrol, movement
from tests.integration.sync.pipeline import Pipeline

QUOTA = Quota(calls=1, per=timedelta(days=1))
FIRST_PAGE = Received("GET", "", {"page": "1"}, {}, b"", "")
CALLS = "select count(*) from etl.provider_calls"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer(Bank(booked=[movement("a")]).respond) as api:
        yield api


@pytest.fixture
def pipeline(scripted_pipeline: Pipeline, api: ApiServer) -> Pipeline:
    """Return the steps for lists of movements whose login may be asked once a day."""
    migrations.migrate(scripted_pipeline.db, [MOVEMENTS])
    scripted_pipeline.endpoint = Endpoint(api.url)
    scripted_pipeline.entity = replace(MOVEMENTS, source=replace(SOURCE, quota=QUOTA))
    enrol(scripted_pipeline, "a1")
    return scripted_pipeline


def retried(pipeline: Pipeline, **changes: object) -> None:
    pipeline.entity = replace(
        pipeline.entity,
        provider=replace(MOVEMENTS.provider, retries=1, **changes),  # type: ignore[arg-type]
    )


def test_a_token_that_cannot_be_had_takes_no_call_of_the_login(pipeline: Pipeline, api: ApiServer, rows: Rows) -> None:
    token = TokenRequest(path="/token", body={"key": Placeholder.CLIENT_SECRET}, access_token="access")
    retried(pipeline, auth=ClientCredentials(token=token))
    respond, api.respond = api.respond, lambda _: Reply({}, 503)
    with pytest.raises(TransientError, match="HTTP 503"):
        pipeline.run("first")
    assert rows(CALLS) == [(0,)]
    api.respond = lambda request: Reply({"access": "t"}) if request.path == "/token" else respond(request)
    assert pipeline.run("second")[0].inserted == 1
    assert rows(CALLS) == [(1,)]


def test_a_request_that_reaches_no_server_takes_no_call(pipeline: Pipeline, rows: Rows) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        pipeline.endpoint = Endpoint(f"http://127.0.0.1:{unused.getsockname()[1]}")
        retried(pipeline)
        with pytest.raises(TransientError, match="ClientConnectorError"):
            pipeline.run("first")
    assert rows(CALLS) == [(0,)]


def test_a_request_whose_connection_is_not_made_in_time_takes_no_call(pipeline: Pipeline, rows: Rows) -> None:
    pipeline.entity = replace(pipeline.entity, provider=replace(MOVEMENTS.provider, timeout=timedelta(seconds=0.4)))
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.settimeout(0)
            client.connect_ex(full.getsockname())
        pipeline.endpoint = Endpoint(f"http://127.0.0.1:{full.getsockname()[1]}")
        with pytest.raises(TransientError, match="ConnectionTimeoutError"):
            pipeline.run("first")
    assert rows(CALLS) == [(0,)]


def refuse_token(request: Received) -> Reply:
    return Reply({"access": "t"}) if request.path == "/token" else Reply({}, 401)


def hang_up(_: Received) -> Reply:
    raise ConnectionAbortedError


@pytest.mark.parametrize(("respond", "sent"), [(refuse_token, 2), (hang_up, 1)])
def test_a_call_without_a_usable_answer_is_given_back_where_errors_do_not_count(
    pipeline: Pipeline, api: ApiServer, rows: Rows, respond: Callable[[Received], Reply], sent: int
) -> None:
    token = TokenRequest(path="/token", body={"key": Placeholder.CLIENT_SECRET}, access_token="access")
    auth = ClientCredentials(token=token) if respond is refuse_token else MOVEMENTS.provider.auth
    api.respond = respond
    for counts_errors, calls in ((False, 0), (True, sent)):
        quota = Quota(calls=4, per=timedelta(days=1), counts_errors=counts_errors)
        provider = replace(MOVEMENTS.provider, auth=auth)
        pipeline.entity = replace(MOVEMENTS, source=replace(SOURCE, quota=quota), provider=provider)
        with suppress(TransientError, ProviderRefused):
            pipeline.run(f"{counts_errors}")
        assert rows(CALLS) == [(calls,)]


@pytest.mark.parametrize(
    "answer",
    [
        Reply({}, 429, {"X-Reset": "999999999"}),
        Reply({}, 429, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2300"}),
        Reply(Bank().respond(FIRST_PAGE).body, 200, {"X-Left": "0", "X-Reset": "999999999"}),
    ],
)
def test_a_login_is_asked_again_after_the_span_of_its_quota_whatever_the_provider_says(
    pipeline: Pipeline, api: ApiServer, rows: Rows, answer: Reply
) -> None:
    quota = replace(QUOTA, remaining_header="X-Left", reset_header="X-Reset")
    pipeline.entity = replace(pipeline.entity, source=replace(SOURCE, quota=quota))
    api.respond = lambda _: answer
    pipeline.run("first")
    assert rows("select blocked_until between now() + interval '23 hours' and now() + interval '1 day' "
                "from etl.provider_blocks") == [(True,)]  # fmt: skip
    skipped = [("starved", "HTTP 429 for 1 day, 0:00:00")] if answer.status == 429 else []
    assert rows("select outcome, reason from etl.left_out") == skipped
