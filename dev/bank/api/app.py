"""The HTTP application: calls the endpoint of each request and renders errors as Plaid does.

Servers of other protocols have routes of their own, under their prefixes.
"""

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
from dev.bank.api.auth import Credentials
from dev.bank.api.endpoints import Endpoint
from dev.bank.api.errors import ApiError, InternalServerError, InvalidBody, NotFound
from dev.bank.api.rate_limits import RateLimits
from dev.bank.api.requests import DayRequest, FaultsRequest
from dev.bank.bank import Bank
from dev.bank.faults import Fault
from dev.bank.gocardless import app as gocardless
from dev.bank.simplefin import routes as simplefin
from dev.bank.world import ids

MAX_BODY_BYTES = 64 * 1024

ENDPOINTS = (*endpoints.ENDPOINTS, *transaction_endpoints.ENDPOINTS, *sandbox_endpoints.ENDPOINTS)

RequestHandler = Callable[[Request, bytes], Awaitable[Response]]

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def create_app(bank: Bank, credentials: Credentials, limits: RateLimits | None = None) -> Starlette:
    """Return the application that serves `bank` to the client with `credentials`, within `limits` (default: Plaid's).

    Each request reads `app.state.bank`; advancing the day replaces it.
    """
    effective_limits = limits or RateLimits()
    handlers = {each.path: _endpoint_handler(each, credentials, effective_limits) for each in ENDPOINTS}
    handlers |= {
        sandbox_endpoints.DAY_PATH: _advance_day_handler(credentials),
        sandbox_endpoints.FAULTS_PATH: _set_faults_handler(credentials),
    }
    app = Starlette(
        routes=[
            Route("/health", _health, methods=["GET"]),
            *(Route(path, _with_error_responses(handler), methods=["POST"]) for path, handler in handlers.items()),
            *gocardless.routes(credentials),
            *simplefin.routes(credentials),
        ],
        exception_handlers={HTTPException: _not_found, Exception: _internal_error},
    )
    app.state.bank = bank
    return app


def _with_error_responses(handler: RequestHandler) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        body = b""
        try:
            body = await _read_body(request)
            return await handler(request, body)
        except ApiError as error:
            return _error_response(error, _request_id(request, body))

    return handle


def _endpoint_handler(endpoint: Endpoint[Any], credentials: Credentials, limits: RateLimits) -> RequestHandler:
    async def handle(request: Request, body: bytes) -> Response:
        bank: Bank = request.app.state.bank
        api_request = _read_request(request, body, credentials, endpoint.request_type)
        subject = b""
        if not endpoint.is_sandbox:
            item = auth.item_number(bank, api_request)
            limits.take(endpoint.path, item, now=time.monotonic())
            subject = bank.faults.count_request(item, endpoint.path)
            if subject and (fault_response := await fault_injection.inject_before(bank, endpoint.path, subject)):
                return fault_response
        content = endpoint.handle(bank, api_request, _request_id(request, body))
        answer = bad_records.spoil(bank.faults, content)
        if subject and bank.faults.strikes(bank.key, Fault.EMPTY_RECORDS, subject):
            answer = bad_records.add_empty_records(answer)
        response = _json_response(answer)
        return fault_injection.inject_after(bank, response, subject) if subject else response

    return handle


def _advance_day_handler(credentials: Credentials) -> RequestHandler:
    async def handle(request: Request, body: bytes) -> Response:
        day_request = _read_request(request, body, credentials, DayRequest)
        bank = sandbox_endpoints.advance_day(request.app.state.bank, day_request)
        request.app.state.bank = bank
        return _json_response(schemas.DayResponse(bank.today, _request_id(request, body)))

    return handle


def _set_faults_handler(credentials: Credentials) -> RequestHandler:
    async def handle(request: Request, body: bytes) -> Response:
        bank: Bank = request.app.state.bank
        sandbox_endpoints.set_faults(bank, _read_request(request, body, credentials, FaultsRequest))
        return _json_response(schemas.FaultsResponse(dict(bank.faults.rates), _request_id(request, body)))

    return handle


def _read_request(
    request: Request, body: bytes, credentials: Credentials, request_type: type[requests.RequestT]
) -> requests.RequestT:
    fields = requests.decode(body)
    credentials.check(request.headers, fields)
    return requests.convert(fields, request_type)


async def _health(request: Request) -> Response:
    return _json_response({"status": "ok", "day": request.app.state.bank.today})


async def _not_found(request: Request, exception: Exception) -> Response:
    response = _error_response(NotFound(), _request_id(request, b""))
    if isinstance(exception, HTTPException) and exception.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.status_code = exception.status_code
        response.headers.update(exception.headers or {})
    return response


async def _internal_error(request: Request, _exception: Exception) -> Response:
    return _error_response(InternalServerError(), _request_id(request, b""))


async def _read_body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidBody
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            message = f"body is longer than {MAX_BODY_BYTES} bytes; send less"
            raise InvalidBody(message)
    return bytes(body)


def _request_id(request: Request, body: bytes) -> str:
    return ids.request_id(request.app.state.bank.key, request.url.path, body)


def _error_response(error: ApiError, request_id: str) -> Response:
    response = _json_response(render.error(error, request_id), status=error.status)
    response.headers.update(error.headers)
    return response


def _json_response(content: object, *, status: int = HTTPStatus.OK) -> Response:
    return Response(_ENCODER.encode(content), status_code=status, media_type="application/json")
