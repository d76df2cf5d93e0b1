"""Enrolment of a login at a bank that answers without valid ids."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etl.catalog.providers.plaid import PLAID
from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.errors import ProviderRefused
from etl.settings import Endpoint
from etl.sync.logins.link import enrol_login
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.sync.scripted_bank import ScriptedBank


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"item_id": "i"}',
        b'{"item_id": "i", "access_token": null}',
        b'{"item_id": "i", "access_token": ""}',
        b'{"item_id": "nul\\u0000", "access_token": "t"}',
        b'{"item_id": 5, "access_token": "t"}',
        b'{"item_id": "\xff", "access_token": "t"}',
        b'{"item_id": "i", "access_token": "t", "x": ' + b"[" * 100_000,
    ],
    ids=["nothing", "list", "absent", "null", "empty", "nul", "number", "no text", "nesting"],
)
def test_a_login_is_not_enrolled_without_a_valid_item_id_and_access_token(
    db: Connection, cipher: TokenCipher, limiter: Limiter, rows: Callable[..., object], body: bytes
) -> None:
    with ScriptedBank() as bank:
        bank.script("public", body)
        endpoint = Endpoint(bank.url, login="id", password="secret")
        with pytest.raises(ProviderRefused, match="answered without item_id and access_token"):
            enrol_login(PLAID, "public", user="u", db=db, cipher=cipher, endpoint=endpoint, limiter=limiter)
    assert rows("select count(*) from core.provider_accounts") == [(0,)]
