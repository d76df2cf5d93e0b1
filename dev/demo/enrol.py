"""Enrols users of the sandbox bank, as an application would through Plaid Link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
from psycopg.rows import scalar_row

from dev.servers.bank import Sandbox
from etl.catalog.providers.plaid import PLAID
from etl.clients import rate_limits
from etl.db.connection import Connection, connect, connect_warehouse
from etl.settings import Endpoint, Settings
from etl.sync.link import enrol_login
from etl.sync.store.token_cipher import TokenCipher

DEFAULT_USERS = 240
"""Users of a bank that makes up as many as are asked for."""

_THREADS = 8
_INSERT_ADDRESSES = """
insert into notify.contacts (user_id, channel, address)
select u.user_id, 'email', u.reference || '@example.com'
from core.users as u
where u.reference like 'demo-%'
on conflict do nothing
"""
"""Of a domain that is nobody's (RFC 2606)."""


def user_count(requested: int | None, sandbox: Sandbox) -> int:
    """Return how many users to enrol: those asked for, but never more than the bank has."""
    if sandbox.purchases is None:
        return requested or DEFAULT_USERS
    return min(requested or sandbox.purchases.items, sandbox.purchases.items)


def enrol(users: int, *, environment: Mapping[str, str]) -> int:
    """Enrol the users that are not enrolled yet, each with a mail address, and return how many those were.

    Parameters
    ----------
    users
        How many there should be; each has one login.
    environment
        Of the stack.
    """
    endpoint = Endpoint.from_environment("warehouse", environment)
    with connect(endpoint) as db:
        enrolled = _enrolled_references(db)
    missing = [number for number in range(users) if _reference(number) not in enrolled]
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(lambda numbers: _enrol_batch(numbers, environment), _deal(missing, _THREADS)))
    with connect(endpoint) as db:
        db.execute(_INSERT_ADDRESSES)
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
            )


def _public_token(client: httpx.Client, number: int) -> str:
    # The user's number names one of the bank's customers, wherever that one banks.
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


def _enrolled_references(connection: Connection) -> set[str]:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return set(cursor.execute("select u.reference from core.users as u").fetchall())


def _deal(numbers: list[int], shares: int) -> list[list[int]]:
    return [numbers[hand::shares] for hand in range(shares)]
