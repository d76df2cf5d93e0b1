"""Tokens of OAuth 2 that are renewed and shared, and logins that are linked in ways other than a token exchange."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.api.auth import AccessUrl, ClientCredentials, RefreshToken, TokenRequest
from etl.declare.api.request import Encoding, Placeholder, Request
from etl.declare.provider import AccessUrlClaim, Consent, ConsentLookup, Enrolment, ErrorAction, ErrorRule, Provider
from etl.errors import ProviderRefused
from etl.settings import Endpoint
from etl.sync.logins.link import EnrolmentFailed, Linking, enrol_items, enrol_logins
from etl.sync.logins.provider_tokens import ProviderTokens
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.provider.client import Call, ProviderCallFailed, open_client
from etl.sync.provider.enrolment import GrantedItem
from tests.api_server import ApiServer, Received, Reply

Rows = Callable[..., list[tuple[Any, ...]]]
P = Placeholder
CLIENT = Provider(
    name="bank",
    connection="bank",
    retries=0,
    auth=ClientCredentials(
        token=TokenRequest(
            path="/token/new/",
            body={"id": P.CLIENT_ID, "key": P.CLIENT_SECRET},
            access_token="access",
            expires_in="access_expires",
            refresh_token="refresh",
        ),
        refresh=TokenRequest(
            path="/token/refresh/",
            body={"refresh": P.REFRESH_TOKEN},
            access_token="access",
            expires_in="access_expires",
        ),
    ),
)
LOGIN = replace(
    CLIENT,
    errors=(ErrorRule(ErrorAction.STOP_ACCOUNT, field="error", code="invalid_grant"),),
    auth=RefreshToken(
        token=TokenRequest(
            path="/oauth/token",
            encoding=Encoding.FORM,
            body={"grant_type": "refresh_token", "refresh_token": P.REFRESH_TOKEN, "client_id": P.CLIENT_ID},
            access_token="access_token",
            expires_in="expires_in",
            refresh_token="refresh_token",
        )
    ),
)


class Bank:
    """A bank with tokens, of which only the latest is valid; a refresh token serves once."""

    def __init__(self) -> None:
        self.issued = 0
        self.refresh_tokens = {"r0"}
        self.is_refreshing = True

    def respond(self, request: Received) -> Reply:
        """Return a token, or what a valid token asks for."""
        if request.path == "/token/refresh/" and not self.is_refreshing:
            return Reply({}, 401)
        if request.path.startswith("/token/"):
            self.issued += 1
            return Reply({"access": f"a{self.issued}", "access_expires": 86_400, "refresh": "r"})
        if request.path == "/oauth/token":
            token = dict(part.split("=") for part in request.body.decode().split("&"))["refresh_token"]
            if token not in self.refresh_tokens:
                return Reply({"error": "invalid_grant"}, 400)
            self.issued += 1
            self.refresh_tokens = {f"r{self.issued}"}
            return Reply({"access_token": f"a{self.issued}", "expires_in": 3600, "refresh_token": f"r{self.issued}"})
        if request.headers.get("authorization") != f"Bearer a{self.issued}":
            return Reply({}, 401)
        return Reply({})


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def linking(db: Connection, cipher: TokenCipher, limiter: Limiter, api: ApiServer) -> Linking:
    return Linking(CLIENT, "u", db, cipher, Endpoint(api.url, login="id", password="secret"), limiter)


def call(linking: Linking, login: int = 7, *, times: int = 1, token: str = "") -> None:
    """Send some requests at once, by a client of its own, as a task does."""

    async def send() -> None:
        tokens = ProviderTokens(linking.db, linking.cipher)
        async with open_client(linking.provider, linking.endpoint, linking.limiter, tokens=tokens) as client:
            values = {P.ACCESS_TOKEN: token}
            requests = [
                client.send(Request(path="/x"), values, parse=lambda _: None, call=Call(provider_account_id=login))
                for _ in range(times)
            ]
            await asyncio.gather(*requests)

    asyncio.run(send())


def paths(api: ApiServer) -> list[str]:
    return [request.path for request in api.requests]


def test_one_token_of_the_client_serves_all_requests_and_tasks_and_is_kept_encrypted(
    linking: Linking, api: ApiServer, rows: Rows
) -> None:
    call(linking, times=3)
    call(linking, login=8)
    assert paths(api) == ["/token/new/", *["/x"] * 4]
    assert json.loads(api.requests[0].body) == {"id": "id", "key": "secret"}
    ((owner, access, refresh),) = rows("select owner, access_token, refresh_token from etl.provider_tokens")
    provider = linking.provider.name
    decrypted = [linking.cipher.decrypt(token, provider_account_id=0, provider=provider) for token in (access, refresh)]
    assert (owner, access != b"a1", decrypted) == (0, True, ["a1", "r"])


def test_an_expired_token_is_refreshed_and_a_refused_refresh_gets_a_new_pair(
    linking: Linking, api: ApiServer, bank: Bank
) -> None:
    call(linking)
    linking.db.execute("update etl.provider_tokens set expires_at = now() + interval '30 seconds'")
    call(linking)
    bank.is_refreshing = False
    linking.db.execute("update etl.provider_tokens set expires_at = now()")
    call(linking)
    assert paths(api) == [
        *("/token/new/", "/x", "/token/refresh/", "/x"),
        *("/token/refresh/", "/token/new/", "/x"),
    ]


def test_a_token_that_is_refused_before_its_end_is_renewed_once(linking: Linking, api: ApiServer, bank: Bank) -> None:
    call(linking)
    bank.issued += 1
    call(linking)
    assert paths(api)[2:] == ["/x", "/token/refresh/", "/x"]


def test_a_refused_client_stops_no_login(linking: Linking, api: ApiServer) -> None:
    api.respond = lambda _: Reply({"error_code": "EXPIRED"}, 401)
    stopping = replace(CLIENT, errors=(ErrorRule(ErrorAction.STOP_ACCOUNT, code="EXPIRED"),))
    with pytest.raises(ProviderRefused, match="/token/new/ answered EXPIRED"):
        call(replace(linking, provider=stopping))


def test_a_rotating_refresh_token_is_stored_before_its_access_token_is_used_and_serves_once(
    linking: Linking, api: ApiServer, rows: Rows
) -> None:
    linking = replace(linking, provider=LOGIN)
    (login,) = enrol_items(linking, [GrantedItem("i", "r0")])
    call(linking, login, times=3, token="r0")
    assert paths(api) == ["/oauth/token", *["/x"] * 3]
    ((token, version),) = rows("select access_token, token_version from core.provider_accounts")
    assert (linking.cipher.decrypt(token, provider_account_id=login), version) == ("r1", 1)
    linking.db.execute("update etl.provider_tokens set expires_at = now()")
    call(linking, login, token="r1")
    assert paths(api)[4:] == ["/oauth/token", "/x"]


def test_a_login_that_is_linked_again_needs_another_access_token(linking: Linking, bank: Bank, api: ApiServer) -> None:
    linking = replace(linking, provider=LOGIN)
    (login,) = enrol_items(linking, [GrantedItem("i", "r0")])
    call(linking, login)
    bank.refresh_tokens = {"new"}
    enrol_items(linking, [GrantedItem("i", "new")])
    call(linking, login)
    assert paths(api) == ["/oauth/token", "/x", "/oauth/token", "/x"]


def test_a_refresh_token_that_has_ended_stops_its_login(linking: Linking, bank: Bank) -> None:
    linking = replace(linking, provider=LOGIN)
    bank.refresh_tokens = set()
    (login,) = enrol_items(linking, [GrantedItem("i", "r0")])
    with pytest.raises(ProviderCallFailed, match=r"invalid_grant \(stop_account\)"):
        call(linking, login)


class Died(BaseException):
    """The process is killed."""


def test_a_refresh_token_that_a_dying_worker_lost_stops_its_login_with_a_code_that_says_so(
    linking: Linking, bank: Bank, api: ApiServer, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    linking = replace(linking, provider=LOGIN)
    (login,) = enrol_items(linking, [GrantedItem("i", "r0")])

    def die(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(ProviderTokens, "save", die)
        patch.setattr(ProviderTokens, "give_up_renewal", die)
        call(linking, login)
    linking.db.execute("update etl.provider_tokens set renewing_until = now() - interval '1 second'")
    for _ in range(2):
        with pytest.raises(ProviderCallFailed, match=r"REFRESH_TOKEN_LOST \(stop_account\)"):
            call(linking, login)
    enrol_items(linking, [GrantedItem("i", "wrong")])
    with pytest.raises(ProviderCallFailed, match=r"invalid_grant \(stop_account\)"):
        call(linking, login)
    bank.refresh_tokens = {"new"}
    enrol_items(linking, [GrantedItem("i", "new")])
    call(linking, login)
    assert rows("select lost_at from etl.provider_tokens") == [(None,)]


def test_a_renewal_without_an_answer_is_no_loss_where_the_old_refresh_token_still_serves(
    linking: Linking, api: ApiServer, bank: Bank, rows: Rows
) -> None:
    linking = replace(linking, provider=LOGIN)
    (login,) = enrol_items(linking, [GrantedItem("i", "r0")])
    api.respond = lambda _: Reply({}, 502)
    with pytest.raises(ProviderCallFailed):
        call(linking, login)
    assert rows("select lost_at is not null, lost_version from etl.provider_tokens") == [(True, 1)]
    api.respond = bank.respond
    call(linking, login)
    assert rows("select lost_at, lost_version from etl.provider_tokens") == [(None, None)]


def test_a_renewal_that_is_cancelled_is_finished_and_saved(
    linking: Linking, api: ApiServer, bank: Bank, rows: Rows
) -> None:
    linking = replace(linking, provider=LOGIN)
    (login,) = enrol_items(linking, [GrantedItem("i", "r0")])

    def respond_late(request: Received) -> Reply:
        time.sleep(0.3)
        return bank.respond(request)

    async def cancelled() -> None:
        tokens = ProviderTokens(linking.db, linking.cipher)
        async with open_client(LOGIN, linking.endpoint, linking.limiter, tokens=tokens) as client:
            async with asyncio.timeout(0.1):
                await client.send(Request(path="/x"), {}, parse=lambda _: None, call=Call(provider_account_id=login))

    api.respond = respond_late
    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())
    ((token,),) = rows("select access_token from core.provider_accounts")
    assert (linking.cipher.decrypt(token, provider_account_id=login), paths(api)) == ("r1", ["/oauth/token"])


REQUISITION = {"status": "LN", "accounts": ["acc-1", "acc-2"], "agreement": {"days": 90}}


def link_requisition(linking: Linking, api: ApiServer, answer: dict[str, Any]) -> list[int]:
    enrolment = Enrolment(
        path="/requisitions/{public_token}/",
        item_id="accounts[]",
        expects={"status": "LN"},
        valid_days="agreement.days",
    )
    api.respond = lambda request: Reply(answer if "requisitions" in request.path else {"access": "a"})
    provider = replace(CLIENT, enrolment=enrolment, consent=Consent(lifetime=timedelta(days=180)))
    return enrol_logins(replace(linking, provider=provider), "req/1")


def test_a_requisition_links_a_login_for_each_of_its_accounts_until_its_consent_ends(
    linking: Linking, api: ApiServer, rows: Rows
) -> None:
    logins = link_requisition(linking, api, REQUISITION)
    assert api.requests[1].raw_path == "/requisitions/req%2F1/"
    found = rows(
        "select provider_account_id, item_id, consent_expires_at::date - current_date from core.provider_accounts "
        "order by 1"
    )
    assert found == [(logins[0], "acc-1", 90), (logins[1], "acc-2", 90)]


@pytest.mark.parametrize(
    ("agreement", "days"),
    [
        (Reply({"terms": {"days": 30}}), 30),
        (Reply({"terms": {}}), 180),
        (Reply({"terms": {"days": 10**12}}), 180),
        (Reply({"terms": "<html>"}), 180),
        (Reply({}, 404), 180),
        (Reply({}, 500), 180),
    ],
)
def test_a_consent_is_as_long_as_another_request_tells_and_as_declared_if_it_tells_nothing(
    linking: Linking, api: ApiServer, rows: Rows, agreement: Reply, days: int
) -> None:
    lookup = ConsentLookup(path="/agreements/{consent_id}/", consent_id="agreement.id", valid_days="terms.days")
    enrolment = Enrolment(path="/requisitions/{public_token}/", item_id="accounts[]", valid_days=lookup)
    answers = {"/requisitions/r/": Reply({**REQUISITION, "agreement": {"id": "a 1"}}), "/agreements/a 1/": agreement}
    api.respond = lambda request: answers.get(unquote(request.path), Reply({"access": "a"}))
    provider = replace(CLIENT, enrolment=enrolment, consent=Consent(lifetime=timedelta(days=180)))
    assert len(enrol_logins(replace(linking, provider=provider), "r")) == 2
    assert rows("select distinct consent_expires_at::date - current_date from core.provider_accounts") == [(days,)]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({**REQUISITION, "status": "CR"}, "answered CR at status instead of LN: it is not ready to link"),
        ({**REQUISITION, "accounts": []}, r"answered without accounts\[\]"),
        ({}, "answered nothing at status instead of LN"),
    ],
)
def test_a_requisition_that_is_not_ready_links_nothing(
    linking: Linking, api: ApiServer, rows: Rows, answer: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderRefused, match=message):
        link_requisition(linking, api, answer)
    assert rows("select count(*) from core.provider_accounts") == [(0,)]


def claim(linking: Linking, api: ApiServer, url: str, answer: Reply) -> list[int]:
    api.respond = lambda _: answer
    provider = replace(CLIENT, auth=AccessUrl(), enrolment=AccessUrlClaim())
    return enrol_logins(replace(linking, provider=provider), b64encode(url.encode()).decode())


def test_a_setup_token_is_claimed_once_for_a_url_that_is_kept_encrypted(
    linking: Linking, api: ApiServer, rows: Rows
) -> None:
    access_url = f"{api.url.replace('//', '//us:pw@')}/simplefin"
    (login,) = claim(linking, api, f"{api.url}/claim/x", Reply(access_url.encode()))
    (request,) = api.requests
    assert (request.method, request.path) == ("POST", "/claim/x")
    ((token, item_id),) = rows("select access_token, item_id from core.provider_accounts")
    assert linking.cipher.decrypt(token, provider_account_id=login) == access_url
    assert "pw" not in item_id


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("http://evil.example/claim", b""),
        ("{api}/claim", b"http://us:pw@evil.example/x"),
        ("{api}/claim", b"Forbidden"),
    ],
)
def test_a_claim_never_leaves_the_host_of_the_connection(
    linking: Linking, api: ApiServer, rows: Rows, url: str, body: bytes
) -> None:
    with pytest.raises(ProviderRefused, match="names an address that is not on"):
        claim(linking, api, url.format(api=api.url), Reply(body))
    assert rows("select count(*) from core.provider_accounts") == [(0,)]


def test_a_setup_token_that_was_claimed_before_or_is_none_is_refused(linking: Linking, api: ApiServer) -> None:
    with pytest.raises(ProviderRefused, match="the claimed URL answered HTTP 403"):
        claim(linking, api, f"{api.url}/claim/x", Reply(b"", 403))
    with pytest.raises(EnrolmentFailed):
        claim(linking, api, f"{api.url}/claim/x", Reply(b"", 503))
    with pytest.raises(ProviderRefused, match="it is no URL in Base64"):
        enrol_logins(replace(linking, provider=replace(CLIENT, auth=AccessUrl(), enrolment=AccessUrlClaim())), "%%")


def test_a_provider_without_enrolment_says_how_its_logins_are_linked(linking: Linking) -> None:
    with pytest.raises(ProviderRefused, match="link its logins with `--access-token` or `--file`"):
        enrol_logins(linking, "token")
