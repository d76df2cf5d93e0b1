"""Enrolment of the sandbox bank's users, as an application would enrol them through Plaid Link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx

from dev.servers.bank import Sandbox
from etl.catalog.providers.plaid import PLAID, TRANSACTIONS_SYNC
from etl.clients import rate_limits
from etl.db.connection import connect, connect_warehouse
from etl.db.statements import Statement
from etl.settings import Endpoint, Settings
from etl.sync.logins.link import enrol_login
from etl.sync.logins.store.token_cipher import TokenCipher

DEFAULT_USERS = 240
"""Users to enrol at a bank with invented customers, which are unlimited."""

_THREADS = 8
_SELECT_REFERENCES = Statement("select u.reference from core.users as u")
_INSERT_ADDRESSES = Statement("""
insert into notify.contacts (user_id, channel, address)
select u.user_id, 'email', u.reference || '@example.com'
from core.users as u
where u.reference like 'demo-%'
on conflict do nothing
""")
"""The domain is reserved for examples (RFC 2606)."""


def user_count(requested: int | None, sandbox: Sandbox) -> int:
    """Return how many users to enrol: the requested number, but at most as many as the bank has."""
    if sandbox.purchases is None:
        return requested or DEFAULT_USERS
    return min(requested or sandbox.purchases.items, sandbox.purchases.items)


def enrol(users: int, *, environment: Mapping[str, str]) -> int:
    """Enrol the first `users` users of the bank, each with a mail address, and return how many were not enrolled yet.

    Parameters
    ----------
    users
        Total number of users; each has one login.
    environment
        Environment of the stack.
    """
    endpoint = Endpoint.from_environment("warehouse", environment)
    with connect(endpoint) as db:
        enrolled = set(_SELECT_REFERENCES.scalars(db))
    missing = [number for number in range(users) if _reference(number) not in enrolled]
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(lambda numbers: _enrol_batch(numbers, environment), _split(missing, _THREADS)))
    with connect(endpoint) as db:
        _INSERT_ADDRESSES.run(db)
    return len(missing)


def _enrol_batch(numbers: Iterable[int], environment: Mapping[str, str]) -> None:
    bank = Endpoint.from_environment(PLAID.connection, environment)
    cipher = TokenCipher(Settings.from_environment(environment).keys)
    limiter = rate_limits.connect(Endpoint.from_environment("limits", environment))
    with (
        httpx.Client(base_url=bank.host, headers=_credentials(bank), trust_env=False) as client,
        connect_warehouse(environment) as db,
    ):
        for number in numbers:
            enrol_login(
                PLAID,
                _public_token(client, number),
                user=_reference(number),
                db=db,
                cipher=cipher,
                endpoint=bank,
                limiter=limiter,
                history=TRANSACTIONS_SYNC.history,
            )


def _public_token(client: httpx.Client, number: int) -> str:
    # The user's number selects the customer of the sandbox, at any institution.
    request = {
        "institution_id": "ins_109508",
        "initial_products": ["transactions"],
        "options": {"override_username": f"user_{number}"},
    }
    return str(client.post("/sandbox/public_token/create", json=request).raise_for_status().json()["public_token"])


def _credentials(bank: Endpoint) -> dict[str, str]:
    return {"PLAID-CLIENT-ID": bank.login, "PLAID-SECRET": bank.password}


def _reference(number: int) -> str:
    return f"demo-{number:06d}"


def _split(numbers: list[int], parts: int) -> list[list[int]]:
    return [numbers[part::parts] for part in range(parts)]
