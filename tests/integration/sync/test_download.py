"""Downloads from a bank that answers with errors."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import zstandard
from cryptography.fernet import Fernet

from etl.catalog.providers.plaid import PLAID
from etl.clients.rate_limits import Limiter
from etl.declare.api.request import Request
from etl.errors import (
    ChunkMissing,
    LandingMissing,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUrlInvalid,
    TokenUnreadable,
)
from etl.settings import Endpoint
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.provider.client import ProviderCallFailed, open_client
from etl.sync.store.landing import Landing
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OUTCOME = "select outcome from etl.chunks"


def numbered_page(number: int) -> bytes:
    return page(added=[transaction(transaction_id=f"t{number}")], next_cursor=f"c{number}")


def test_a_mutation_during_pagination_restarts_from_the_first_cursor_and_discards_the_pages(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script(
        "one",
        page(added=[transaction(transaction_id="gone")], next_cursor="x", has_more=True),
        page(added=[transaction(transaction_id="gone too")], next_cursor="y", has_more=True),
        refusal("TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"),
        page(added=[transaction(transaction_id="kept")], next_cursor="z"),
    )
    scripted_pipeline.run("run")
    assert [request.get("cursor") for request in scripted_bank.requests["one"]] == [None, "x", "y", None]
    assert rows("select transaction_id from core.transactions") == [("kept",)]
    assert rows("select value from etl.cursors") == [("z",)]


@pytest.mark.parametrize(
    "bad",
    [
        Answer(b"oops", 502),
        refusal("API_ERROR", "INTERNAL_SERVER_ERROR", 500),
        refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429),
        Answer(b"<html>not json"),
        Answer(b'{"added": []}'),
    ],
    ids=["gateway", "server", "rate limit", "not json", "not a page"],
)
def test_a_transient_error_is_retried(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, bad: Answer, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", bad, numbered_page(1))
    (counts,) = scripted_pipeline.run("run")
    assert counts.inserted == 1
    assert len(scripted_bank.requests["one"]) == 2


def test_a_retry_after_in_seconds_is_waited_for(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script(
        "one", refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After="2"), numbered_page(1)
    )
    started = time.monotonic()
    scripted_pipeline.run("run")
    assert time.monotonic() - started >= 2


def test_a_retry_after_with_a_date_is_waited_for(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> None:
    scripted_pipeline.enrol("one")
    until = datetime.now(UTC) + timedelta(seconds=3)
    busy = refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After=format_datetime(until, usegmt=True))
    scripted_bank.script("one", busy, numbered_page(1))
    scripted_pipeline.run("run")
    assert datetime.now(UTC) >= until.replace(microsecond=0)


def test_a_chunk_is_retried_if_some_accounts_are_unreachable_and_the_others_are_refused(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank
) -> None:
    scripted_pipeline.enrol("down", "odd")
    scripted_bank.script("down", Answer(b"", 503))
    scripted_bank.script("odd", refusal("INVALID_REQUEST", "INVALID_FIELD"))
    scripted_pipeline.plan("run")
    with pytest.raises(ProviderUnavailable, match="HTTP 503"):
        scripted_pipeline.download("run")


def test_a_chunk_without_a_reachable_account_fails_and_can_be_retried(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank
) -> None:
    scripted_pipeline.enrol("down")
    scripted_bank.script("down", Answer(b"", 503))
    scripted_pipeline.plan("run")
    with pytest.raises(ProviderUnavailable, match=r"none of the accounts of chunk 1 could be drained.*HTTP 503"):
        scripted_pipeline.download("run")
    with pytest.raises(LandingMissing, match=r"chunk 1, attempt 1.*clear the task `download`"):
        scripted_pipeline.store_raw("run")
    scripted_bank.script("down", numbered_page(1))
    assert scripted_pipeline.load(scripted_pipeline.fetch("run")).inserted == 1


def test_wrong_client_credentials_fail_the_chunk_and_stop_no_account(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", refusal("INVALID_INPUT", "INVALID_API_KEYS"))
    scripted_pipeline.plan("run")
    with pytest.raises(ProviderRefused, match="plaid /transactions/sync answered INVALID_API_KEYS, HTTP 400"):
        scripted_pipeline.download("run")
    assert rows("select state from core.provider_accounts") == [("active",)]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_secret_is_sent_to_the_target_of_a_redirect(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, status: int
) -> None:
    scripted_pipeline.enrol("one")
    with ScriptedBank() as stranger:
        stranger.script("one", numbered_page(666))
        scripted_bank.script("one", Answer(b"", status, {"Location": f"{stranger.url}/transactions/sync"}))
        scripted_pipeline.plan("run")
        with pytest.raises(ProviderRefused, match=f"answered HTTP {status}"):
            scripted_pipeline.download("run")
        assert not stranger.requests


def test_cookies_of_a_bank_are_never_sent_back(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> None:
    scripted_pipeline.endpoint = replace(
        scripted_pipeline.endpoint, host=scripted_bank.url.replace("127.0.0.1", "localhost")
    )
    scripted_pipeline.enrol("one")
    more = page(next_cursor="x", has_more=True)
    scripted_bank.script("one", Answer(more, headers={"Set-Cookie": "session=one; Path=/"}), numbered_page(1))
    scripted_pipeline.run("run")
    assert scripted_bank.cookies == []


def test_invalid_unicode_is_repaired_in_rows_and_kept_in_the_raw_batch(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    cut = page(added=[transaction(transaction_id="cut", name="CAF?"), transaction(transaction_id="whole")])
    sent = b"\xef\xbb\xbf" + cut.replace(b"CAF?", b"CAF\\ud83d \xff")
    scripted_bank.script("one", sent)
    scripted_pipeline.run("run")
    assert rows("select description from core.transactions where transaction_id = 'cut'") == [("CAF\ufffd \ufffd",)]
    (sealed,) = (scripted_pipeline.root / "raw").rglob("*.zst")
    assert sent in zstandard.ZstdDecompressor().stream_reader(sealed.read_bytes()).read()


def test_removing_the_pages_of_an_attempt_keeps_those_of_a_newer_one(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", numbered_page(1))
    scripted_pipeline.plan("run")
    scripted_pipeline.download("run")
    first = Landing(scripted_pipeline.root, chunk_id=1, attempt=1)
    scripted_pipeline.download("run")
    first.remove()
    assert scripted_pipeline.load(scripted_pipeline.transform(scripted_pipeline.store_raw("run"))).inserted == 1


def test_a_host_that_is_not_a_url_is_named_with_the_fix(scripted_pipeline: Pipeline) -> None:
    scripted_pipeline.enrol("one")
    scripted_pipeline.endpoint = replace(scripted_pipeline.endpoint, host="sandbox.plaid.com")
    scripted_pipeline.plan("run")
    with pytest.raises(ProviderUrlInvalid, match=r"connection 'plaid': its host is 'sandbox\.plaid\.com'; it must be"):
        scripted_pipeline.download("run")


def test_no_secret_is_stored_with_the_pages(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> None:
    scripted_pipeline.enrol("access-token-of-one")
    scripted_bank.script("access-token-of-one", numbered_page(1))
    scripted_pipeline.run("run")
    (sealed,) = (scripted_pipeline.root / "raw").rglob("*.zst")
    content = zstandard.ZstdDecompressor().stream_reader(sealed.read_bytes()).read()
    assert b'"count"' in content
    for secret in (b"access-token-of-one", b"access_token", b"secret"):
        assert secret not in content


def test_a_chunk_without_a_readable_token_fails_and_names_an_account(scripted_pipeline: Pipeline) -> None:
    (account,) = scripted_pipeline.enrol("one")
    scripted_pipeline.plan("run")
    scripted_pipeline.cipher = TokenCipher([Fernet.generate_key().decode()])
    with pytest.raises(TokenUnreadable, match=f"provider account {account}"):
        scripted_pipeline.download("run")


def test_a_retry_after_that_is_too_long_is_not_waited_for(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After="86400"))
    scripted_pipeline.plan("run")
    with pytest.raises(ProviderUnavailable, match="TRANSACTIONS_LIMIT"):
        scripted_pipeline.download("run")
    assert len(scripted_bank.requests["one"]) == 1


def test_a_request_that_is_never_answered_fails_after_the_timeout_of_the_provider(limiter: Limiter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = Endpoint(f"http://127.0.0.1:{silent.getsockname()[1]}")

        async def call() -> None:
            impatient = replace(PLAID, timeout=timedelta(seconds=0.3), retries=0)
            async with open_client(impatient, endpoint, limiter) as client, asyncio.timeout(10):
                await client.send(Request(path="/"), {}, parse=lambda response: response.body)

        with pytest.raises(ProviderCallFailed, match="TimeoutError"):
            asyncio.run(call())


def test_an_unplanned_chunk_is_refused_with_its_run_and_number(scripted_pipeline: Pipeline) -> None:
    with pytest.raises(ChunkMissing, match="run 'run' has no chunk 3"):
        scripted_pipeline.download("run", 3)
