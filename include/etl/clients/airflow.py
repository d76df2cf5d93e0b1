"""A client of Airflow's REST API, which triggers and clears Dag runs from outside of Airflow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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
"""Of one request."""

_SUCCESS_STATUSES = range(200, 300)
_CONFLICT = 409
_RETRYABLE_STATUSES = {408, 429}
_CLIENT_ERRORS = range(400, 500)
_FINISHED_STATES = {"success", "failed"}
"""Of a Dag run."""


class AirflowUnavailable(TransientError):
    """Airflow's API does not respond, or asks to retry later."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"Airflow at {url}: {reason}; try again, nothing is done twice.")


class AirflowRefused(PermanentError):
    """Airflow's API refuses the request; `status` is that of the response, None if there is none."""

    def __init__(self, url: str, reason: str, status: int | None = None) -> None:
        super().__init__(
            f"Airflow at {url}: {reason}; fix the address or the login (of the connection `airflow_api`), or let that "
            "user trigger Dags."
        )
        self.status = status


class _TokenResponse(msgspec.Struct):
    access_token: str


class _DagRunResponse(msgspec.Struct):
    state: str


class Session:
    """A login at Airflow's API, which sends requests, each over a connection of its own.

    Parameters
    ----------
    server
        Its host (or base URL), port, login and password.
    timeout
        Of each request.
    """

    def __init__(self, server: Endpoint, *, timeout: timedelta = TIMEOUT) -> None:
        self.url = _base_url(server)
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds())
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        login = {"username": server.login, "password": server.password}
        content = self.request("POST", "/auth/token", login, subject="the login")
        self._headers["Authorization"] = f"Bearer {_decode(self.url, content, _TokenResponse).access_token}"

    def request(
        self, method: str, path: str, payload: Mapping[str, object] | None = None, *, subject: str = ""
    ) -> bytes:
        """Send a request, and return the body of the response.

        Parameters
        ----------
        path
            With the query, if there is one.
        payload
            Sent as JSON.
        subject
            What is requested, for error messages; by default, method and path.

        Raises
        ------
        AirflowUnavailable
            If Airflow does not respond, or asks to retry later.
        AirflowRefused
            If it refuses the request.
        """
        status, content = asyncio.run(self._send(method, path, payload))
        if status in _SUCCESS_STATUSES:
            return content
        reason = f"{subject or f'{method} {path}'} was answered with {status}"
        if status in _CLIENT_ERRORS and status not in _RETRYABLE_STATUSES:
            raise AirflowRefused(self.url, reason, status)
        raise AirflowUnavailable(self.url, reason)

    async def _send(self, method: str, path: str, payload: Mapping[str, object] | None) -> tuple[int, bytes]:
        content = None if payload is None else msgspec.json.encode(payload)
        try:
            async with (
                aiohttp.ClientSession(timeout=self._timeout, headers=self._headers) as client,
                client.request(method, f"{self.url}{path}", data=content, allow_redirects=False) as response,
            ):
                return response.status, await http.read_body(response)
        except (aiohttp.InvalidURL, ValueError):
            raise AirflowRefused(self.url, "this is not a valid URL") from None
        except (aiohttp.ClientError, OSError, BodyTooLarge) as error:
            raise AirflowUnavailable(self.url, type(error).__name__) from None


def trigger(server: Endpoint, dag_id: str, run_id: str, conf: Mapping[str, object]) -> bool:
    """Trigger a Dag run; return False if a run with this id exists.

    Parameters
    ----------
    server
        Its host (or base URL), port, login and password.
    run_id
        Id of the new run.
    conf
        Conf of the run; ids only, since everybody who may open the run sees it.

    Raises
    ------
    AirflowUnavailable
        If it does not respond, or asks to retry later.
    AirflowRefused
        If the caller is not allowed to, or the Dag does not exist.
    """
    session = Session(server)
    payload = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
    try:
        session.request("POST", f"/api/v2/dags/{dag_id}/dagRuns", payload, subject=f"a run of {dag_id}")
    except AirflowRefused as refused:
        if refused.status != _CONFLICT:
            raise
        return False
    return True


def clear_run(server: Endpoint, dag_id: str, run_id: str) -> bool:
    """Clear all tasks of a finished Dag run, so that it runs again; return False if it has not finished.

    Raises
    ------
    AirflowUnavailable
        If Airflow does not respond, or asks to retry later.
    AirflowRefused
        If the caller is not allowed to, or the run does not exist.
    """
    session = Session(server)
    path, subject = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", f"the run {run_id} of {dag_id}"
    content = session.request("GET", path, subject=subject)
    if _decode(session.url, content, _DagRunResponse).state not in _FINISHED_STATES:
        return False
    session.request("POST", f"{path}/clear", {"dry_run": False}, subject=f"clearing {subject}")
    return True


def _decode(url: str, content: bytes, response_type: type[_Response]) -> _Response:
    try:
        return msgspec.json.decode(content, type=response_type)
    except DECODE_ERRORS:
        raise AirflowRefused(url, "its response is not that of Airflow 3's API") from None


def _base_url(server: Endpoint) -> str:
    host = server.host if "://" in server.host else f"{server.schema or 'http'}://{server.host}"
    return f"{host.rstrip('/')}:{server.port}" if server.port else host.rstrip("/")
