"""Refresh tokens of logins: an older one never takes the place of a newer one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.api.auth import RefreshToken, TokenRequest
from etl.declare.api.request import Placeholder, Request
from etl.declare.provider import Provider
from etl.settings import Endpoint
from etl.sync.logins.provider_tokens import ProviderTokens
from etl.sync.logins.store import provider_accounts
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.provider.client import Call, ProviderCallFailed, open_client
from tests.api_server import ApiServer, Received, Reply

Rows = Callable[..., list[tuple[Any, ...]]]
BANK = Provider(
    name="bank",
    connection="bank",
    retries=0,
    auth=RefreshToken(
        token=TokenRequest(
            path="/oauth",
            body={"token": Placeholder.REFRESH_TOKEN},
            access_token="access",
            refresh_token="refresh",
        )
    ),
)
ISSUED = Reply({"access": "a1", "refresh": "r1"})


@dataclass
class Login:
    """A login whose refresh token is `r0`, and what happens while its access token is renewed."""

    db: Connection
    cipher: TokenCipher
    limiter: Limiter
    api: ApiServer

    def __post_init__(self) -> None:
        self.login = self.link("r0")

    def link(self, token: str) -> int:
        return provider_accounts.enrol(self.db, self.cipher, provider="bank", user="u", item_id="i", access_token=token)

    @property
    def token(self) -> str:
        """Its stored refresh token."""
        ((token,),) = self.db.execute("select access_token from core.provider_accounts").fetchall()
        return self.cipher.decrypt(token, provider_account_id=self.login)

    def renew(self, answer: Reply, meanwhile: Callable[[], object]) -> None:
        """Send a request, for which the access token is renewed; the token request gets an answer."""

        def respond(request: Received) -> Reply:
            if request.path != "/oauth":
                return Reply({})
            meanwhile()
            return answer

        async def send() -> None:
            tokens = ProviderTokens(self.db, self.cipher)
            async with open_client(BANK, Endpoint(self.api.url), self.limiter, tokens=tokens) as client:
                call = Call(provider_account_id=self.login)
                await client.send(Request(path="/x"), {}, parse=lambda _: None, call=call)

        self.api.respond = respond
        with suppress(ProviderCallFailed):
            asyncio.run(send())


@pytest.fixture
def login(db: Connection, cipher: TokenCipher, limiter: Limiter) -> Iterator[Login]:
    with ApiServer(lambda _: Reply({})) as api:
        yield Login(db, cipher, limiter, api)


def test_a_login_that_is_linked_again_during_a_renewal_keeps_its_new_token(login: Login) -> None:
    login.renew(ISSUED, lambda: login.link("new"))
    stored = ProviderTokens(login.db, login.cipher).find("bank", login.login)
    assert (login.token, stored.refresh_token, stored.access_token) == ("new", "new", None)


def test_a_renewal_that_fails_says_nothing_about_a_token_that_was_linked_meanwhile(login: Login) -> None:
    login.renew(Reply({}, 502), lambda: login.link("new"))
    assert not ProviderTokens(login.db, login.cipher).find("bank", login.login).may_be_lost


@pytest.mark.parametrize("answer", [ISSUED, Reply({}, 502)])
def test_a_worker_whose_claim_another_has_taken_over_stores_nothing(login: Login, rows: Rows, answer: Reply) -> None:
    taken = "update etl.provider_tokens set renewing_until = '2099-01-01', lost_at = null"
    login.renew(answer, lambda: login.db.execute(taken))
    assert rows("select renewing_until::text, lost_at, access_token from etl.provider_tokens") == [
        ("2099-01-01 00:00:00+00", None, None)
    ]
    assert login.token == "r0"
