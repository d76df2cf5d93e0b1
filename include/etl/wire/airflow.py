"""Airflow's REST API, asked from outside to run a Dag."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import aiohttp
import msgspec

from etl.errors import PermanentError, TransientError
from etl.records import UNDECODABLE
from etl.settings import Endpoint
from etl.wire import answers
from etl.wire.answers import BodyTooLarge

TIMEOUT = timedelta(seconds=10)
"""For all of it."""

_OK = range(200, 300)
_CONFLICT = 409
_ASK_LATER = {408, 429}
_CLIENT_ERRORS = range(400, 500)


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


async def _trigger(server: Endpoint, dag_id: str, run_id: str, conf: Mapping[str, object]) -> bool:
    url = _url(server)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT.total_seconds())
    async with aiohttp.ClientSession(timeout=timeout, headers={"Content-Type": "application/json"}) as session:
        login = {"username": server.login, "password": server.password}
        status, content = await _post(session, url, "/auth/token", login)
        _require(url, status, "the login")
        try:
            token = msgspec.json.decode(content, type=_Granted).access_token
        except UNDECODABLE:
            raise AirflowRefused(url, "its login answered without a token") from None
        session.headers["Authorization"] = f"Bearer {token}"
        asked = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        status, _ = await _post(session, url, f"/api/v2/dags/{dag_id}/dagRuns", asked)
    if status == _CONFLICT:
        return False
    _require(url, status, f"a run of {dag_id}")
    return True


async def _post(session: aiohttp.ClientSession, url: str, path: str, asked: Mapping[str, object]) -> tuple[int, bytes]:
    try:
        async with session.post(f"{url}{path}", data=msgspec.json.encode(asked), allow_redirects=False) as answer:
            return answer.status, await answers.body(answer)
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
