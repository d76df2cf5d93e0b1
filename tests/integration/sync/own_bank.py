"""A sandbox bank for one test, with its own day and faults."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Self

import httpx
import uvicorn

from dev.bank.__main__ import KEEP_ALIVE
from dev.bank.api.app import create_app
from dev.bank.api.auth import Credentials
from dev.bank.api.connections import ConnectionExposingProtocol
from dev.bank.api.rate_limits import RateLimits
from dev.bank.bank import Bank
from etl.settings import Endpoint

DAY = date(2026, 11, 20)


@dataclass
class OwnBank:
    """A bank on a loopback port, without rate limits."""

    endpoint: Endpoint = field(init=False)

    @property
    def bank(self) -> Bank:
        """The bank that answers, with its current day."""
        bank: Bank = self._app.state.bank
        return bank

    def serve(self, bank: Bank) -> None:
        """Let another bank answer from now on."""
        self._app.state.bank = bank

    def advance_day(self, days: int) -> None:
        """Advance the bank's day."""
        self._post("/sandbox/day", {"advance": days})

    def set_faults(self, rates: Mapping[str, float]) -> None:
        """Enable these faults and disable all others."""
        self._post("/sandbox/faults", {"faults": dict(rates)})

    def create_public_token(self, number: int) -> str:
        """Return a public token of an item, as its user gets it."""
        request = {
            "institution_id": "ins_109508",
            "initial_products": ["transactions"],
            "options": {"override_username": f"user_{number}"},
        }
        token: str = self._post("/sandbox/public_token/create", request)["public_token"]
        return token

    def _post(self, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.post(path, json=fields).raise_for_status().json()
        return answer

    def __enter__(self) -> Self:
        """Start."""
        bank = Bank.from_seed("moods", opened_on=DAY - timedelta(days=30), today=DAY)
        self._app = create_app(bank, Credentials("client", "secret"), RateLimits(None))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                http=ConnectionExposingProtocol,
                lifespan="off",
                log_level="critical",
                timeout_keep_alive=int(KEEP_ALIVE.total_seconds()),
            )
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listening]})
        self._thread.start()
        url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.endpoint = Endpoint(url, login="client", password="secret")
        headers = {"PLAID-CLIENT-ID": self.endpoint.login, "PLAID-SECRET": self.endpoint.password}
        self._client = httpx.Client(base_url=url, headers=headers, trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._client.close()
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()
