"""Airflow's REST API, asked from outside to run a Dag."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

import aiohttp
import msgspec

from etl.clients import http
from etl.clients.http import BodyTooLarge
from etl.errors import PermanentError, TransientError
from etl.json_text import UNDECODABLE
from etl.settings import Endpoint

_Answer = TypeVar("_Answer", bound=msgspec.Struct)
TIMEOUT = timedelta(seconds=10)
"""For all of it."""

_OK = range(200, 300)
_CONFLICT = 409
_ASK_LATER = {408, 429}
_CLIENT_ERRORS = range(400, 500)
_ENDED = {"success", "failed"}
"""States of a run."""


class AirflowSilent(TransientError):
    """Airflow's API does not answer, or not now."""

    def __init__(self, url: str, found: str) -> None:
        super().__init__(f"Airflow at {url}: {found}; ask again, nothing is done twice.")


class AirflowRefused(PermanentError):
    """Airflow's API does not do what it is asked."""

    def __init__(self, url: str, found: str) -> None:
        super().__init__(
            f"Airflow at {url}: {found}; mend the connection `airflow_api`, whose user must be allowed to trigger Dags."
        )


class _Granted(msgspec.Struct):
    access_token: str


class _Run(msgspec.Struct):
    state: str


def trigger(server: Endpoint, dag_id: str, run_id: str, conf: Mapping[str, object]) -> bool:
    """Trigger a run of a Dag; False if there is one of this id already.

    Parameters
    ----------
    server
        Its host (or base URL), port, login and password.
    run_id
        What the run is to be called.
    conf
        Of the run; ids only, since whoever looks at the run sees it.

    Raises
    ------
    AirflowSilent
        If it does not answer, or not now.
    AirflowRefused
        If it does not let the caller, or has no such Dag.
    """
    return asyncio.run(_trigger(server, dag_id, run_id, conf))


def run_again(server: Endpoint, dag_id: str, run_id: str) -> bool:
    """Let a run of a Dag that has ended run again, with all its tasks; False if it has not ended.

    Raises
    ------
    AirflowSilent
        If Airflow does not answer, or not now.
    AirflowRefused
        If it does not let the caller, or has no such run.
    """
    return asyncio.run(_run_again(server, dag_id, run_id))


async def _trigger(server: Endpoint, dag_id: str, run_id: str, conf: Mapping[str, object]) -> bool:
    url = _url(server)
    async with _session(server) as session:
        asked = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        status, _ = await _ask(session, url, f"/api/v2/dags/{dag_id}/dagRuns", asked)
    if status == _CONFLICT:
        return False
    _require(url, status, f"a run of {dag_id}")
    return True


async def _run_again(server: Endpoint, dag_id: str, run_id: str) -> bool:
    url, path = _url(server), f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
    async with _session(server) as session:
        status, content = await _ask(session, url, path)
        _require(url, status, f"the run {run_id} of {dag_id}")
        if _decoded(url, content, _Run).state not in _ENDED:
            return False
        status, _ = await _ask(session, url, f"{path}/clear", {"dry_run": False})
    _require(url, status, f"clearing the run {run_id} of {dag_id}")
    return True


@asynccontextmanager
async def _session(server: Endpoint) -> AsyncIterator[aiohttp.ClientSession]:
    """Log in."""
    url = _url(server)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT.total_seconds())
    async with aiohttp.ClientSession(timeout=timeout, headers={"Content-Type": "application/json"}) as session:
        login = {"username": server.login, "password": server.password}
        status, content = await _ask(session, url, "/auth/token", login)
        _require(url, status, "the login")
        session.headers["Authorization"] = f"Bearer {_decoded(url, content, _Granted).access_token}"
        yield session


def _decoded(url: str, content: bytes, kind: type[_Answer]) -> _Answer:
    try:
        return msgspec.json.decode(content, type=kind)
    except UNDECODABLE:
        raise AirflowRefused(url, "it answers as no API of Airflow 3 does") from None


async def _ask(
    session: aiohttp.ClientSession, url: str, path: str, asked: Mapping[str, object] | None = None
) -> tuple[int, bytes]:
    """Post what is asked, or get what is there if nothing is."""
    method, content = ("GET", None) if asked is None else ("POST", msgspec.json.encode(asked))
    try:
        async with session.request(method, f"{url}{path}", data=content, allow_redirects=False) as answer:
            return answer.status, await http.body(answer)
    except (aiohttp.InvalidURL, ValueError):
        raise AirflowRefused(url, "that is no URL") from None
    except (aiohttp.ClientError, OSError, BodyTooLarge) as error:
        raise AirflowSilent(url, type(error).__name__) from None


def _require(url: str, status: int, what: str) -> None:
    if status in _OK:
        return
    if status in _CLIENT_ERRORS and status not in _ASK_LATER:
        raise AirflowRefused(url, f"{what} was answered with {status}")
    raise AirflowSilent(url, f"{what} was answered with {status}")


def _url(server: Endpoint) -> str:
    host = server.host if "://" in server.host else f"{server.schema or 'http'}://{server.host}"
    return f"{host.rstrip('/')}:{server.port}" if server.port else host.rstrip("/")
