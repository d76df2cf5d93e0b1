"""What is known of a login from when it is linked, and how it is given back to the provider."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from etl.errors import TokenUnreadable
from etl.sync.logins import link
from etl.sync.logins.link import LinkedMeanwhile, UnlinkFailed, enrol_login, unlink_login
from etl.sync.logins.store import logins, provider_accounts
from etl.sync.logins.store.logins import LinkedLogin
from tests.integration.sync.pipeline import PLAID_ONE_RETRY, Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal

Rows = Callable[..., list[tuple[object, ...]]]
LINKED = "select institution_id, institution_name, history_days, state from core.provider_accounts"
TOKEN = "select state, state_reason, access_token is null, replaced_by from core.provider_accounts"
GRANTED = b'{"item_id": "i", "access_token": "access"}'


def link_scripted(pipeline: Pipeline, bank: ScriptedBank, item: Answer | bytes, *, days: int = 90) -> int:
    """Link a login, where the bank answers `item` when it is asked for the institution."""
    bank.script("public", GRANTED)
    bank.script("access", item)
    return enrol_login(
        PLAID_ONE_RETRY,
        "public",
        user="ann",
        db=pipeline.db,
        cipher=pipeline.cipher,
        endpoint=pipeline.endpoint,
        limiter=pipeline.limiter,
        history=timedelta(days=days),
    )


def find(pipeline: Pipeline, login: int) -> LinkedLogin:
    (found,) = logins.find_to_unlink(pipeline.db, [login])
    return found


def unlink(pipeline: Pipeline, login: LinkedLogin) -> None:
    unlink_login(
        PLAID_ONE_RETRY,
        login,
        reason="asked",
        db=pipeline.db,
        cipher=pipeline.cipher,
        endpoint=pipeline.endpoint,
        limiter=pipeline.limiter,
    )


def test_linking_stores_the_bank_and_the_promised_history(own_bank_pipeline: Pipeline, rows: Rows) -> None:
    own_bank_pipeline.link(1)
    ((institution_id, name, days, state),) = rows(LINKED)
    assert str(institution_id).startswith("ins_")
    assert name
    assert (days, state) == (730, "active")


@pytest.mark.parametrize(
    "item",
    [
        refusal("ITEM_ERROR", "ITEM_LOGIN_REQUIRED"),
        refusal("INVALID_REQUEST", "NO"),
        b"[]",
        b"no JSON",
        b'{"item": null}',
        b'{"item": {"institution_id": null, "institution_name": ""}}',
        b'{"item": {"institution_id": 5, "institution_name": "nul\\u0000"}}',
    ],
    ids=["login", "refused", "list", "text", "null", "nothing", "wrong"],
)
def test_a_login_is_linked_without_its_bank_if_the_provider_does_not_tell(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, item: Answer | bytes
) -> None:
    link_scripted(scripted_pipeline, scripted_bank, item)
    assert rows(LINKED) == [(None, None, 90, "active")]


def test_a_login_is_linked_without_its_bank_if_the_provider_takes_too_long_to_tell(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "INSTITUTION_TIMEOUT", timedelta(milliseconds=200))
    link_scripted(scripted_pipeline, scripted_bank, Answer(b"", 503))
    assert rows(LINKED) == [(None, None, 90, "active")]


def test_linking_again_keeps_the_promise_of_the_first_time_and_a_bank_that_was_known(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    item = b'{"item": {"institution_id": "ins_1", "institution_name": "First"}}'
    login = link_scripted(scripted_pipeline, scripted_bank, item)
    assert link_scripted(scripted_pipeline, scripted_bank, b"{}", days=730) == login
    assert rows(LINKED) == [("ins_1", "First", 90, "active")]
    provider_accounts.set_history_days(scripted_pipeline.db, login, 365)
    assert rows(LINKED) == [("ins_1", "First", 365, "active")]


def test_unlinking_ends_the_access_at_the_provider_and_deletes_the_token(
    own_bank_pipeline: Pipeline, rows: Rows
) -> None:
    (login,) = own_bank_pipeline.link(1)
    linked = find(own_bank_pipeline, login)
    unlink(own_bank_pipeline, linked)
    assert rows(TOKEN) == [("unlinked", "asked", True, None)]
    own_bank_pipeline.db.execute(
        "update core.provider_accounts set state = 'active', access_token = %s", [linked.access_token]
    )
    own_bank_pipeline.run("run")
    assert rows("select outcome, reason from etl.left_out") == [("stopped", "ITEM_NOT_FOUND")]


def test_an_unlinked_login_is_never_sent_again(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> None:
    (login,) = scripted_pipeline.enrol("one")
    scripted_bank.script("one", b"{}")
    unlink(scripted_pipeline, find(scripted_pipeline, login))
    unlink(scripted_pipeline, find(scripted_pipeline, login))
    assert len(scripted_bank.requests["one"]) == 1


def test_a_login_that_the_provider_has_no_more_is_unlinked_as_well(own_bank_pipeline: Pipeline, rows: Rows) -> None:
    (login,) = own_bank_pipeline.link(1)
    before = find(own_bank_pipeline, login)
    unlink(own_bank_pipeline, before)
    own_bank_pipeline.db.execute(
        "update core.provider_accounts set state = 'active', access_token = %s", [before.access_token]
    )
    unlink(own_bank_pipeline, find(own_bank_pipeline, login))
    assert rows(TOKEN) == [("unlinked", "asked", True, None)]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (Answer(b"", 503), "HTTP 503"),
        (refusal("INVALID_INPUT", "INVALID_ACCESS_TOKEN"), "INVALID_ACCESS_TOKEN"),
        (refusal("INVALID_INPUT", "INVALID_API_KEYS"), "answered INVALID_API_KEYS"),
    ],
    ids=["down", "unknown token", "credentials"],
)
def test_a_login_keeps_its_token_unless_the_provider_says_that_the_access_is_gone(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, answer: Answer, detail: str
) -> None:
    (login,) = scripted_pipeline.enrol("one")
    scripted_bank.script("one", answer)
    with pytest.raises(UnlinkFailed, match=f"login {login}: plaid did not unlink it: .*{detail}"):
        unlink(scripted_pipeline, find(scripted_pipeline, login))
    assert rows(TOKEN) == [("active", None, False, None)]


def test_a_login_whose_token_no_key_decrypts_is_not_unlinked(scripted_pipeline: Pipeline, rows: Rows) -> None:
    (login,) = scripted_pipeline.enrol("one")
    scripted_pipeline.db.execute("update core.provider_accounts set access_token = 'x'")
    with pytest.raises(TokenUnreadable):
        unlink(scripted_pipeline, find(scripted_pipeline, login))
    assert rows(TOKEN) == [("active", None, False, None)]


def test_a_login_that_is_linked_again_while_it_is_unlinked_keeps_its_new_token(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    (login,) = scripted_pipeline.enrol("one")
    scripted_bank.script("one", b"{}")
    before = find(scripted_pipeline, login)
    scripted_pipeline.enrol("one")
    with pytest.raises(LinkedMeanwhile, match=f"login {login} was linked again"):
        unlink(scripted_pipeline, before)
    assert rows(TOKEN) == [("active", None, False, None)]


def test_unlinking_at_the_same_time_twice_is_no_error(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    (login,) = scripted_pipeline.enrol("one")
    scripted_bank.script("one", b"{}", refusal("ITEM_ERROR", "ITEM_NOT_FOUND"))
    before = find(scripted_pipeline, login)
    unlink(scripted_pipeline, before)
    unlink(scripted_pipeline, before)
    assert rows(TOKEN) == [("unlinked", "asked", True, None)]


def test_a_replaced_login_that_is_unlinked_remembers_what_replaced_it(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    old, new = scripted_pipeline.enrol("old", "new")
    scripted_pipeline.db.execute(
        "update core.provider_accounts set state = 'replaced', replaced_by = %s where provider_account_id = %s",
        [new, old],
    )
    scripted_bank.script("old", b"{}")
    unlink(scripted_pipeline, find(scripted_pipeline, old))
    assert rows(f"{TOKEN} where provider_account_id = %s", old) == [("unlinked", "asked", True, new)]
