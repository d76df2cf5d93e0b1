"""The sandbox bank with its rate limits off; it generates each page on request."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from subprocess import Popen

from benchmarks.support.canned_bank import BankDied
from dev.servers import bank, http, ports
from dev.servers.bank import HEALTH_PATH, Sandbox
from dev.servers.ports import LOOPBACK
from dev.stack.home import REPOSITORY
from dev.stack.urls import provider_connection
from etl.catalog.providers.plaid import PLAID

SANDBOX = Sandbox("benchmarks", opened=date(2021, 1, 1), day=date(2026, 1, 1))
"""Five years of transactions."""
_POLL = 0.1


@contextmanager
def running(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run the bank in a separate process, and yield the environment of a stack that uses it as the provider."""
    port = next(each for each in ports.candidates() if ports.is_free(each))
    connection = provider_connection(
        f"http://{LOOPBACK}:{port}", client_id=environment["BANK_CLIENT_ID"], secret=environment["BANK_SECRET"]
    )
    command = (*bank.command(SANDBOX, port=port), "--limits", "off")
    with Popen(command, env=dict(environment), cwd=REPOSITORY) as process:
        try:
            while not http.is_ok(port, HEALTH_PATH):
                time.sleep(_POLL)
                if process.poll() is not None:
                    raise BankDied(port)
            yield {**environment, f"AIRFLOW_CONN_{PLAID.connection.upper()}": connection}
        finally:
            process.terminate()
