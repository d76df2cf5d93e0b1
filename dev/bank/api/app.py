"""The shell: HTTP in, one endpoint's answer or one refusal out."""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dev.bank.api import (
    auth,
    bad_records,
    endpoints,
    fault_injection,
    render,
    requests,
    sandbox_endpoints,
    schemas,
    transaction_endpoints,
)
from dev.bank.api import (
    sandbox_endpoints as levers,
)
from dev.bank.api.auth import Credentials
from dev.bank.api.endpoints import Endpoint
from dev.bank.api.errors import InternalServerError, InvalidBody, NotFound, Refusal
from dev.bank.api.rate_limits import Limits
from dev.bank.api.requests import DayTurn, FaultsSwitch
from dev.bank.bank import Bank
from dev.bank.world import ids

LONGEST_BODY = 64 * 1024
"""Bytes of a request's body."""

ENDPOINTS = (*endpoints.ENDPOINTS, *transaction_endpoints.ENDPOINTS, *sandbox_endpoints.ENDPOINTS)

Answer = Callable[[Request, bytes], Awaitable[Response]]

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def create_app(bank: Bank, credentials: Credentials, limits: Limits | None = None) -> Starlette:
    """Return the server of `bank`, which answers the client that has `credentials`, within the provider's limits.

    The bank is `app.state.bank`: each request reads it anew, so that another day is another bank put in its place.
    """
    metered = limits or Limits()
    answers = {each.path: _answering(each, credentials, metered) for each in ENDPOINTS}
    answers |= {levers.DAY: _turning_the_day(credentials), levers.FAULTS: _switching_faults(credentials)}
    app = Starlette(
        routes=[
            Route("/health", _health, methods=["GET"]),
            *(Route(path, _route(answer), methods=["POST"]) for path, answer in answers.items()),
        ],
        exception_handlers={HTTPException: _no_route, Exception: _failed},
    )
    app.state.bank = bank
    return app


def _route(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        body = b""
        try:
            body = await _body(request)
            return await answer(request, body)
        except Refusal as refusal:
            return _refuse(refusal, _request_id(request, body))

    return guarded


def _answering(endpoint: Endpoint[Any], credentials: Credentials, limits: Limits) -> Answer:
    async def answer(request: Request, body: bytes) -> Response:
        bank: Bank = request.app.state.bank
        asked = _read(request, body, credentials, endpoint.request)
        about = b""
        if not endpoint.lever:
            item = auth.number(bank, asked)
            limits.take(endpoint.path, item, now=time.monotonic())
            about = bank.faults.request(item, endpoint.path)
            if about and (instead := await fault_injection.meet(bank, endpoint.path, about)):
                return instead
        answered = endpoint.answer(bank, asked, _request_id(request, body))
        response = _json(bad_records.spoil(bank.key, bank.faults, answered))
        return fault_injection.finish(bank, response, about) if about else response

    return answer


def _turning_the_day(credentials: Credentials) -> Answer:
    async def answer(request: Request, body: bytes) -> Response:
        bank = levers.turn_day(request.app.state.bank, _read(request, body, credentials, DayTurn))
        request.app.state.bank = bank
        return _json(schemas.DayTurned(bank.today, _request_id(request, body)))

    return answer


def _switching_faults(credentials: Credentials) -> Answer:
    async def answer(request: Request, body: bytes) -> Response:
        bank: Bank = request.app.state.bank
        levers.switch_faults(bank, _read(request, body, credentials, FaultsSwitch))
        return _json(schemas.FaultsSwitched(dict(bank.faults.rates), _request_id(request, body)))

    return answer


def _read(request: Request, body: bytes, credentials: Credentials, shape: type[requests.Body]) -> requests.Body:
    fields = requests.decode(body)
    credentials.check(request.headers, fields)
    return requests.convert(fields, shape)


async def _health(request: Request) -> Response:
    return _json({"status": "ok", "day": request.app.state.bank.today})


async def _no_route(request: Request, exception: Exception) -> Response:
    response = _refuse(NotFound(), _request_id(request, b""))
    if isinstance(exception, HTTPException) and exception.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.status_code = exception.status_code
        response.headers.update(exception.headers or {})
    return response


async def _failed(request: Request, _exception: Exception) -> Response:
    return _refuse(InternalServerError(), _request_id(request, b""))


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidBody
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            message = f"body is longer than {LONGEST_BODY} bytes; send less"
            raise InvalidBody(message)
    return bytes(body)


def _request_id(request: Request, body: bytes) -> str:
    return ids.request_id(request.app.state.bank.key, request.url.path, body)


def _refuse(refusal: Refusal, request_id: str) -> Response:
    response = _json(render.error(refusal, request_id), status=refusal.status)
    response.headers.update(refusal.headers)
    return response


def _json(answer: object, *, status: int = HTTPStatus.OK) -> Response:
    return Response(_ENCODER.encode(answer), status_code=status, media_type="application/json")
