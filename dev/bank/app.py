"""The shell: HTTP in, one endpoint's answer or one refusal out."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dev.bank import ids, render, requests
from dev.bank.bank import Bank
from dev.bank.credentials import Credentials
from dev.bank.endpoints import ENDPOINTS, Endpoint
from dev.bank.errors import InternalServerError, InvalidBody, NotFound, Refusal

LONGEST_BODY = 64 * 1024
"""Bytes of a request's body."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def create_app(bank: Bank, credentials: Credentials) -> Starlette:
    """Return the server of `bank`, which answers the client that has `credentials`.

    The bank is `app.state.bank`: each request reads it anew, so that another day is another bank put in its place.
    """
    app = Starlette(
        routes=[
            Route("/health", _health, methods=["GET"]),
            *(Route(each.path, _route(each, credentials), methods=["POST"]) for each in ENDPOINTS),
        ],
        exception_handlers={HTTPException: _no_route, Exception: _failed},
    )
    app.state.bank = bank
    return app


def _route(endpoint: Endpoint[Any], credentials: Credentials) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        bank: Bank = request.app.state.bank
        body = b""
        try:
            body = await _body(request)
            fields = requests.decode(body)
            credentials.check(request.headers, fields)
            asked = requests.convert(fields, endpoint.request)
            return _json(endpoint.answer(bank, asked, ids.request_id(bank.key, endpoint.path, body)))
        except Refusal as refusal:
            return _refuse(refusal, ids.request_id(bank.key, endpoint.path, body))

    return answer


async def _health(request: Request) -> Response:
    return _json({"status": "ok", "day": request.app.state.bank.today})


async def _no_route(request: Request, exception: Exception) -> Response:
    response = _refuse(NotFound(), ids.request_id(request.app.state.bank.key, request.url.path, b""))
    if isinstance(exception, HTTPException) and exception.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.status_code = exception.status_code
        response.headers.update(exception.headers or {})
    return response


async def _failed(request: Request, _exception: Exception) -> Response:
    return _refuse(InternalServerError(), ids.request_id(request.app.state.bank.key, request.url.path, b""))


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


def _refuse(refusal: Refusal, request_id: str) -> Response:
    return _json(render.error(refusal, request_id), status=refusal.status)


def _json(answer: object, *, status: int = HTTPStatus.OK) -> Response:
    return Response(_ENCODER.encode(answer), status_code=status, media_type="application/json")
