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
from etl.json_text import DECODE_ERRORS
from etl.settings import Endpoint

_Response = TypeVar("_Response", bound=msgspec.Struct)
TIMEOUT = timedelta(seconds=10)
"""For all of it."""

_SUCCESS_STATUSES = range(200, 300)
_CONFLICT = 409
_RETRYABLE_STATUSES = {408, 429}
_CLIENT_ERRORS = range(400, 500)
_FINISHED_STATES = {"success", "failed"}
"""States of a run."""


class AirflowUnavailable(TransientError):
    """Airflow's API does not answer, or not now."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"Airflow at {url}: {reason}; ask again, nothing is done twice.")


class AirflowRefused(PermanentError):
    """Airflow's API does not do what it is asked."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"Airflow at {url}: {reason}; fix the connection `airflow_api`, whose user must be allowed to trigger Dags."
        )


class _TokenResponse(msgspec.Struct):
    access_token: str


class _DagRunResponse(msgspec.Struct):
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


def clear_run(server: Endpoint, dag_id: str, run_id: str) -> bool:
    """Let a run of a Dag that has ended run again, with all its tasks; False if it has not ended.

    Raises
    ------
    AirflowSilent
        If Airflow does not answer, or not now.
    AirflowRefused
        If it does not let the caller, or has no such run.
    """
    return asyncio.run(_clear_run(server, dag_id, run_id))


async def _trigger(server: Endpoint, dag_id: str, run_id: str, conf: Mapping[str, object]) -> bool:
    url = _base_url(server)
    async with _session(server) as session:
        asked = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        status, _ = await _request(session, url, f"/api/v2/dags/{dag_id}/dagRuns", asked)
    if status == _CONFLICT:
        return False
    _raise_for_status(url, status, f"a run of {dag_id}")
    return True


async def _clear_run(server: Endpoint, dag_id: str, run_id: str) -> bool:
    url, path = _base_url(server), f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
    async with _session(server) as session:
        status, content = await _request(session, url, path)
        _raise_for_status(url, status, f"the run {run_id} of {dag_id}")
        if _decode(url, content, _DagRunResponse).state not in _FINISHED_STATES:
            return False
        status, _ = await _request(session, url, f"{path}/clear", {"dry_run": False})
    _raise_for_status(url, status, f"clearing the run {run_id} of {dag_id}")
    return True


@asynccontextmanager
async def _session(server: Endpoint) -> AsyncIterator[aiohttp.ClientSession]:
    """Log in."""
    url = _base_url(server)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT.total_seconds())
    async with aiohttp.ClientSession(timeout=timeout, headers={"Content-Type": "application/json"}) as session:
        login = {"username": server.login, "password": server.password}
        status, content = await _request(session, url, "/auth/token", login)
        _raise_for_status(url, status, "the login")
        session.headers["Authorization"] = f"Bearer {_decode(url, content, _TokenResponse).access_token}"
        yield session


def _decode(url: str, content: bytes, response_type: type[_Response]) -> _Response:
    try:
        return msgspec.json.decode(content, type=response_type)
    except DECODE_ERRORS:
        raise AirflowRefused(url, "it answers as no API of Airflow 3 does") from None


async def _request(
    session: aiohttp.ClientSession, url: str, path: str, payload: Mapping[str, object] | None = None
) -> tuple[int, bytes]:
    """Post what is asked, or get what is there if nothing is."""
    method, content = ("GET", None) if payload is None else ("POST", msgspec.json.encode(payload))
    try:
        async with session.request(method, f"{url}{path}", data=content, allow_redirects=False) as answer:
            return answer.status, await http.read_body(answer)
    except (aiohttp.InvalidURL, ValueError):
        raise AirflowRefused(url, "that is no URL") from None
    except (aiohttp.ClientError, OSError, BodyTooLarge) as error:
        raise AirflowUnavailable(url, type(error).__name__) from None


def _raise_for_status(url: str, status: int, subject: str) -> None:
    if status in _SUCCESS_STATUSES:
        return
    if status in _CLIENT_ERRORS and status not in _RETRYABLE_STATUSES:
        raise AirflowRefused(url, f"{subject} was answered with {status}")
    raise AirflowUnavailable(url, f"{subject} was answered with {status}")


def _base_url(server: Endpoint) -> str:
    host = server.host if "://" in server.host else f"{server.schema or 'http'}://{server.host}"
    return f"{host.rstrip('/')}:{server.port}" if server.port else host.rstrip("/")
