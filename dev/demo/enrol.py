"""Enrols users of the sandbox bank, as an application would through Plaid Link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
from psycopg.rows import scalar_row

from dev.servers.bank import Sandbox
from etl.catalog.providers.plaid import PLAID
from etl.clients import rate_limits
from etl.db import connection as warehouse
from etl.db.connection import Warehouse
from etl.settings import Endpoint, Settings
from etl.sync.link import link
from etl.sync.store.token_cipher import TokenCipher

USERS = 240
"""Users of a bank that makes up as many as are asked for."""

_AT_ONCE = 8
_ADDRESSES = """
insert into notify.contacts (user_id, channel, address)
select u.user_id, 'email', u.reference || '@example.com'
from core.users as u
where u.reference like 'demo-%'
on conflict do nothing
"""
"""Of a domain that is nobody's (RFC 2606)."""


def how_many(asked: int | None, sandbox: Sandbox) -> int:
    """Return how many users to enrol: those asked for, but never more than the bank has."""
    if sandbox.purchases is None:
        return asked or USERS
    return min(asked or sandbox.purchases.items, sandbox.purchases.items)


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
    with warehouse.connect(endpoint) as connection:
        enrolled = _enrolled(connection)
    missing = [number for number in range(users) if _reference(number) not in enrolled]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(lambda numbers: _enrol_some(numbers, environment), _dealt(missing, _AT_ONCE)))
    with warehouse.connect(endpoint) as connection:
        connection.execute(_ADDRESSES)
    return len(missing)


def _enrol_some(numbers: Iterable[int], environment: Mapping[str, str]) -> None:
    bank = Endpoint.from_environment(PLAID.connection, environment)
    cipher = TokenCipher(Settings.from_environment(environment).keys)
    limiter = rate_limits.connect(Endpoint.from_environment("limits", environment))
    with (
        httpx.Client(base_url=bank.host, headers=_credentials(bank), trust_env=False) as client,
        warehouse.connect(Endpoint.from_environment("warehouse", environment)) as connection,
    ):
        for number in numbers:
            link(
                PLAID,
                _public_token(client, number),
                user=_reference(number),
                warehouse=connection,
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


def _enrolled(connection: Warehouse) -> set[str]:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return set(cursor.execute("select u.reference from core.users as u").fetchall())


def _dealt(numbers: list[int], hands: int) -> list[list[int]]:
    return [numbers[hand::hands] for hand in range(hands)]
