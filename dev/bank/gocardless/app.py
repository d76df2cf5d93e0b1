"""Routes of GoCardless's Bank Account Data API, served by the bank beside Plaid's.

Source: the OpenAPI document of the Bank Account Data API, version 2.0, as stored in `nip10/gocardless-open-banking`,
`docs/spec.json`; GoCardless, "Quickstart Guide" and "Statuses and Error Codes"; the client `nordigen/nordigen-python`.
"""

import hmac
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dev.bank.api import fault_injection, requests, sandbox_endpoints
from dev.bank.api.auth import Credentials
from dev.bank.api.errors import ApiError, RateLimitExceeded
from dev.bank.bank import Bank
from dev.bank.faults import Fault
from dev.bank.gocardless import accounts, consents, desk, errors, records
from dev.bank.gocardless.desk import Desk
from dev.bank.gocardless.errors import GoCardlessError

PREFIX = "/gocardless/api/v2"
SANDBOX_PATH = "/gocardless/sandbox/requisition"
MAX_BODY_BYTES = 64 * 1024

Handler = Callable[[Request, Bank], Awaitable[Response]]

_ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def routes(credentials: Credentials) -> list[Route]:
    """Return the routes for the client with `credentials`: its `secret_id` and `secret_key`.

    `app.state.gocardless` is what the bank remembers of it.
    """
    client = _Client(credentials, Desk())
    handlers: list[tuple[str, str, Handler]] = [
        ("POST", "/token/new/", client.create_token),
        ("POST", "/token/refresh/", client.refresh_token),
        ("GET", "/institutions/", client.authorized(_list_institutions)),
        ("GET", "/institutions/{id}/", client.authorized(_get_institution)),
        ("POST", "/agreements/enduser/", client.authorized(_create_agreement)),
        ("GET", "/agreements/enduser/{id}/", client.authorized(_get_agreement)),
        ("POST", "/requisitions/", client.authorized(_create_requisition)),
        ("GET", "/requisitions/{id}/", client.authorized(_get_requisition)),
        ("DELETE", "/requisitions/{id}/", client.authorized(_delete_requisition)),
        ("GET", "/accounts/{id}/", client.authorized(_get_metadata)),
        *(("GET", f"/accounts/{{id}}/{scope}/", client.authorized(client.reading(scope))) for scope in accounts.SCOPES),
    ]
    by_path: dict[str, list[tuple[str, Handler]]] = {}
    for method, path, handler in handlers:
        by_path.setdefault(PREFIX + path, []).append((method, handler))
    return [
        *(Route(path, client.answering(dict(by_method)), methods=_ALL_METHODS) for path, by_method in by_path.items()),
        Route("/gocardless/psd2/start/{id}/{institution_id}", client.answering({"GET": _log_in}), methods=["GET"]),
        Route(SANDBOX_PATH, client.answering({"POST": client.create_granted_requisition}), methods=["POST"]),
        Route("/gocardless/{path:path}", client.answering({}), methods=_ALL_METHODS),
    ]


class _Client:
    """Handlers that need to know the client."""

    def __init__(self, credentials: Credentials, its_desk: Desk) -> None:
        self._credentials = credentials
        self._desk = its_desk

    def answering(self, by_method: dict[str, Handler]) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that answers errors as GoCardless does; one without a method is not found."""

        async def handle(request: Request) -> Response:
            request.app.state.gocardless = self._desk
            try:
                handler = by_method.get(request.method, _refuse_method if by_method else _refuse_path)
                return await handler(request, request.app.state.bank)
            except GoCardlessError as error:
                headers = {**desk.general_headers(), **error.headers}
                return _json({**error.body, "status_code": error.status}, status=error.status, headers=headers)

        return handle

    def authorized(self, handler: Handler) -> Handler:
        """Return a handler that requires a valid token."""

        async def handle(request: Request, bank: Bank) -> Response:
            authorization = request.headers.get("authorization")
            if authorization is None:
                detail = "Authentication credentials were not provided."
                raise GoCardlessError(401, detail, detail)
            token = self._desk.require(authorization)
            subject = bank.faults.count_request(0, f"token of {request.url.path}")
            if bank.faults.strikes(bank.key, Fault.EXPIRED_TOKEN, subject):
                self._desk.expire(token)
                raise errors.invalid_token()
            return await handler(request, bank)

        return handle

    def reading(self, scope: str) -> Handler:
        """Return the handler of a scope of an account, with its calls a day and the faults of requests."""

        async def handle(request: Request, bank: Bank) -> Response:
            account_id = request.path_params["id"]
            days = _days_of(request) if scope == "transactions" else (None, None)
            _require_parameters(request, {"date_from", "date_to"} if scope == "transactions" else set())
            granted = accounts.find(bank, account_id)
            self._desk.take(account_id, scope, today=bank.today)
            subject = bank.faults.count_request(granted.ledger.item.number, f"{scope} of {granted.account.ordinal}")
            if subject and (broken := await _inject_before(bank, scope, subject)):
                return broken
            accounts.require_access(bank, granted, scope)
            match scope:
                case "details":
                    content = accounts.get_details(bank, granted)
                case "balances":
                    content = accounts.get_balances(bank, granted)
                case _:
                    content = accounts.get_transactions(bank, granted, *days)
            self._desk.count(account_id, scope)
            response = _json(content, headers=self._desk.headers(account_id, scope))
            return fault_injection.inject_after(bank, response, subject) if subject else response

        return handle

    async def create_token(self, request: Request, _bank: Bank) -> Response:
        """Issue tokens to the client."""
        self._require_secrets(await _fields(request), {"secret_id", "secret_key"})
        access, refresh = self._desk.issue()
        expiry = {
            "access_expires": int(desk.ACCESS_LIFETIME.total_seconds()),
            "refresh_expires": int(desk.REFRESH_LIFETIME.total_seconds()),
        }
        return _json({"access": access, "refresh": refresh, **expiry})

    async def refresh_token(self, request: Request, _bank: Bank) -> Response:
        """Issue an access token for a refresh token."""
        fields = await _fields(request)
        if not isinstance(fields.get("refresh"), str):
            raise errors.required("refresh")
        access = self._desk.refresh(fields["refresh"])
        return _json({"access": access, "access_expires": int(desk.ACCESS_LIFETIME.total_seconds())})

    async def create_granted_requisition(self, request: Request, bank: Bank) -> Response:
        """Return a requisition whose user has logged in: what all the other requests do, for tests and demos."""
        fields = await _fields(request)
        allowed = {"secret_id", "secret_key", "user", "max_historical_days", "access_valid_for_days", "access_scope"}
        self._require_secrets(fields, allowed)
        number = _item_of(bank, str(fields.get("user", "")))
        institution_id = records.institution_id(bank.ledger(number).item.institution)
        if institution_id not in consents.BY_ID:
            institution_id = next(iter(consents.BY_ID))
        terms = {name: value for name, value in fields.items() if name not in ("secret_id", "secret_key", "user")}
        agreement = consents.create_agreement(bank, {"institution_id": institution_id, **terms})
        redirect = "https://bank.example/linked"
        asked = {"institution_id": institution_id, "redirect": redirect, "agreement": agreement.agreement_id}
        granted = consents.grant(bank, consents.create_requisition(bank, asked), number)
        return _json(consents.requisition(bank, granted, str(request.base_url)), status=201)

    def _require_secrets(self, fields: dict[str, Any], allowed: set[str]) -> None:
        if unknown := set(fields) - allowed:
            raise errors.unknown_fields(sorted(unknown), "payload")
        if missing := [name for name in ("secret_id", "secret_key") if not fields.get(name)]:
            raise errors.required(*missing)
        given = (str(fields["secret_id"]), str(fields["secret_key"]))
        expected = (self._credentials.client_id, self._credentials.secret)
        if not all(hmac.compare_digest(*map(str.encode, pair)) for pair in zip(given, expected, strict=True)):
            raise GoCardlessError(401, "Authentication failed", "No active account found with the given credentials")


async def _refuse_path(_request: Request, _bank: Bank) -> Response:
    raise errors.not_found()


async def _refuse_method(request: Request, _bank: Bank) -> Response:
    detail = f'Method "{request.method}" not allowed.'
    raise GoCardlessError(405, detail, detail)


async def _list_institutions(request: Request, _bank: Bank) -> Response:
    _require_parameters(request, {"country"})
    return _json(consents.list_institutions(request.query_params.get("country")))


async def _get_institution(request: Request, _bank: Bank) -> Response:
    return _json(consents.institution(consents.find_institution(request.path_params["id"])))


async def _create_agreement(request: Request, bank: Bank) -> Response:
    return _json(consents.agreement(consents.create_agreement(bank, await _fields(request))), status=201)


async def _get_agreement(request: Request, bank: Bank) -> Response:
    found = consents.find_agreement(bank, consents.require_uuid(request.path_params["id"]))
    return _json(consents.agreement(found))


async def _create_requisition(request: Request, bank: Bank) -> Response:
    created = consents.create_requisition(bank, await _fields(request))
    return _json(consents.requisition(bank, created, str(request.base_url)), status=201)


async def _get_requisition(request: Request, bank: Bank) -> Response:
    found = consents.find_requisition(bank, consents.require_uuid(request.path_params["id"]))
    return _json(consents.requisition(bank, found, str(request.base_url)))


async def _delete_requisition(request: Request, bank: Bank) -> Response:
    found = consents.find_requisition(bank, consents.require_uuid(request.path_params["id"]))
    return _json(consents.delete_requisition(bank, found))


async def _get_metadata(request: Request, bank: Bank) -> Response:
    return _json(accounts.get_metadata(bank, accounts.find(bank, request.path_params["id"])))


async def _log_in(request: Request, bank: Bank) -> Response:
    """Let a user log in, who then grants all accounts: `?user=user_7`, or a random customer of the institution."""
    found = consents.find_requisition(bank, request.path_params["id"])
    user = request.query_params.get("user")
    institution = consents.find_institution(request.path_params["institution_id"])
    number = bank.random_item(institution.institution_id) if user is None else _item_of(bank, user)
    consents.grant(bank, found, number)
    return RedirectResponse(f"{found.redirect}?ref={found.reference}", status_code=302)


async def _inject_before(bank: Bank, scope: str, subject: bytes) -> Response | None:
    """Return the broken response of a fault; None if no fault strikes."""
    if bank.faults.strikes(bank.key, Fault.DAILY_LIMIT, subject):
        detail = "Daily request limit set by the Institution has been exceeded."
        raise errors.at_institution(scope, "RateLimitError", detail, status=429)
    try:
        return await fault_injection.inject_before(bank, f"/gocardless/{scope}", subject)
    except RateLimitExceeded as limited:
        seconds = limited.retry_after or 1
        headers = desk.general_headers(remaining=0, reset=seconds)
        raise errors.rate_limited(f"{desk.CALLS_PER_MINUTE}/minute", seconds, headers) from None
    except ApiError:
        detail = "Request to Institution returned an error"
        raise errors.at_institution(scope, "UnknownRequestError", detail, status=500) from None


def _item_of(bank: Bank, user: str) -> int:
    try:
        return sandbox_endpoints.item_of_user(bank, user)
    except ApiError as error:
        raise errors.FieldErrors({"user": [str(error)]}) from None


def _days_of(request: Request) -> tuple[date | None, date | None]:
    """Return the range of days that a request asks for."""
    found: list[date | None] = []
    for name in ("date_from", "date_to"):
        text = request.query_params.get(name)
        try:
            found.append(None if text is None else date.fromisoformat(text))
        except ValueError:
            raise errors.FieldErrors({name: ["Enter a valid date."]}) from None
    return found[0], found[1]


def _require_parameters(request: Request, allowed: set[str]) -> None:
    if unknown := set(request.query_params) - allowed:
        raise errors.unknown_fields(sorted(unknown), "query")


async def _fields(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        return requests.decode(body[:MAX_BODY_BYTES])
    except ApiError:
        raise GoCardlessError(400, "JSON parse error", "The body of the request is no JSON object") from None


def _json(content: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = msgspec.json.encode(content)
    return Response(body, status, headers=headers or desk.general_headers(), media_type="application/json")
