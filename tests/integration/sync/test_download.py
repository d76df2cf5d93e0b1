"""Reading feeds from a bank on its bad days."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import zstandard
from cryptography.fernet import Fernet

from etl.errors import (
    ChunkMissing,
    LandingMissing,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUrlInvalid,
    TokenUnreadable,
)
from etl.sync.store.landing import Landing
from etl.sync.store.token_cipher import TokenCipher
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OUTCOME = "select outcome from etl.chunks"


def one(number: int) -> bytes:
    return page(added=[transaction(transaction_id=f"t{number}")], next_cursor=f"c{number}")


def test_a_mutation_during_pagination_restarts_from_the_first_cursor_and_throws_the_pages_away(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    scripted.script(
        "one",
        page(added=[transaction(transaction_id="gone")], next_cursor="x", has_more=True),
        page(added=[transaction(transaction_id="gone too")], next_cursor="y", has_more=True),
        refusal("TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"),
        page(added=[transaction(transaction_id="kept")], next_cursor="z"),
    )
    moody.run("run")
    assert [request.get("cursor") for request in scripted.requests["one"]] == [None, "x", "y", None]
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
def test_what_may_pass_is_asked_again(moody: Pipeline, scripted: ScriptedBank, bad: Answer, rows: Rows) -> None:
    moody.enrol("one")
    scripted.script("one", bad, one(1))
    (counts,) = moody.run("run")
    assert counts.inserted == 1
    assert len(scripted.requests["one"]) == 2


def test_the_wait_that_a_bank_asks_for_is_kept(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("one")
    scripted.script("one", refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After="2"), one(1))
    began = time.monotonic()
    moody.run("run")
    assert time.monotonic() - began >= 2


def test_the_date_until_which_a_bank_wants_to_be_left_alone_is_kept(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("one")
    until = datetime.now(UTC) + timedelta(seconds=3)
    busy = refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After=format_datetime(until, usegmt=True))
    scripted.script("one", busy, one(1))
    moody.run("run")
    assert datetime.now(UTC) >= until.replace(microsecond=0)


def test_a_chunk_of_which_some_cannot_be_reached_and_the_rest_is_refused_is_tried_again(
    moody: Pipeline, scripted: ScriptedBank
) -> None:
    moody.enrol("down", "odd")
    scripted.script("down", Answer(b"", 503))
    scripted.script("odd", refusal("INVALID_REQUEST", "INVALID_FIELD"))
    moody.plan("run")
    with pytest.raises(ProviderUnavailable, match="HTTP 503"):
        moody.download("run")


def test_a_chunk_of_which_nothing_can_be_reached_is_tried_again_later(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("down")
    scripted.script("down", Answer(b"", 503))
    moody.plan("run")
    with pytest.raises(ProviderUnavailable, match=r"none of the accounts of chunk 1 could be drained.*HTTP 503"):
        moody.download("run")
    with pytest.raises(LandingMissing, match=r"chunk 1, attempt 1.*clear the task `download`"):
        moody.store_raw("run")
    scripted.script("down", one(1))
    assert moody.load(moody.fetch("run")).inserted == 1


def test_wrong_client_credentials_fail_the_chunk_and_stop_no_account(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    scripted.script("one", refusal("INVALID_INPUT", "INVALID_API_KEYS"))
    moody.plan("run")
    with pytest.raises(ProviderRefused, match="plaid /transactions/sync answered INVALID_API_KEYS, HTTP 400"):
        moody.download("run")
    assert rows("select state from core.provider_accounts") == [("active",)]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_secret_follows_a_redirect(moody: Pipeline, scripted: ScriptedBank, status: int) -> None:
    moody.enrol("one")
    with ScriptedBank() as stranger:
        stranger.script("one", one(666))
        scripted.script("one", Answer(b"", status, {"Location": f"{stranger.url}/transactions/sync"}))
        moody.plan("run")
        with pytest.raises(ProviderRefused, match=f"answered HTTP {status}"):
            moody.download("run")
        assert not stranger.requests


def test_what_a_bank_wants_remembered_of_one_account_is_not_told_about_the_next(
    moody: Pipeline, scripted: ScriptedBank
) -> None:
    moody.endpoint = replace(moody.endpoint, host=scripted.url.replace("127.0.0.1", "localhost"))
    moody.enrol("one")
    more = page(next_cursor="x", has_more=True)
    scripted.script("one", Answer(more, headers={"Set-Cookie": "session=one; Path=/"}), one(1))
    moody.run("run")
    assert scripted.cookies == []


def test_text_that_is_no_unicode_is_repaired_and_kept_as_sent(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    cut = page(added=[transaction(transaction_id="cut", name="CAF?"), transaction(transaction_id="whole")])
    sent = b"\xef\xbb\xbf" + cut.replace(b"CAF?", b"CAF\\ud83d \xff")
    scripted.script("one", sent)
    moody.run("run")
    assert rows("select description from core.transactions where transaction_id = 'cut'") == [("CAF\ufffd \ufffd",)]
    (sealed,) = (moody.root / "raw").rglob("*.zst")
    assert sent in zstandard.ZstdDecompressor().stream_reader(sealed.read_bytes()).read()


def test_sealing_leaves_a_newer_attempt_alone(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("one")
    scripted.script("one", one(1))
    moody.plan("run")
    moody.download("run")
    first = Landing(moody.root, chunk_id=1, attempt=1)
    moody.download("run")
    first.remove()
    assert moody.load(moody.transform(moody.store_raw("run"))).inserted == 1


def test_a_host_that_is_no_url_is_named_with_the_remedy(moody: Pipeline) -> None:
    moody.enrol("one")
    moody.endpoint = replace(moody.endpoint, host="sandbox.plaid.com")
    moody.plan("run")
    with pytest.raises(ProviderUrlInvalid, match=r"connection 'plaid': its host is 'sandbox\.plaid\.com'; it must be"):
        moody.download("run")


def test_no_secret_is_kept_with_the_pages(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("access-token-of-one")
    scripted.script("access-token-of-one", one(1))
    moody.run("run")
    (sealed,) = (moody.root / "raw").rglob("*.zst")
    content = zstandard.ZstdDecompressor().stream_reader(sealed.read_bytes()).read()
    assert b'"count"' in content
    for secret in (b"access-token-of-one", b"access_token", b"secret"):
        assert secret not in content


def test_a_chunk_without_a_readable_token_fails_and_names_an_account(moody: Pipeline) -> None:
    (account,) = moody.enrol("one")
    moody.plan("run")
    moody.cipher = TokenCipher([Fernet.generate_key().decode()])
    with pytest.raises(TokenUnreadable, match=f"provider account {account}"):
        moody.download("run")


def test_a_bank_that_asks_for_too_long_a_wait_is_left_alone(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("one")
    scripted.script("one", refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After="86400"))
    moody.plan("run")
    with pytest.raises(ProviderUnavailable, match="TRANSACTIONS_LIMIT"):
        moody.download("run")
    assert len(scripted.requests["one"]) == 1


def test_a_chunk_that_was_not_planned_is_refused_by_name(moody: Pipeline) -> None:
    with pytest.raises(ChunkMissing, match="run 'run' has no chunk 3"):
        moody.download("run", 3)
