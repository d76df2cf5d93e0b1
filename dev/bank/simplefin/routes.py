"""The bank as a SimpleFIN server, under `/simplefin`: setup tokens, access URLs, and accounts with their transactions.

    GET  /simplefin/create?user=5    what its user does on the server's page: a setup token (with the client's
                                     credentials, since the bank has no pages to log in to)
    POST /simplefin/claim/{code}     the access URL, once
    GET  /simplefin/accounts         with the user name and the password of the access URL
    GET  /simplefin/info             the versions of the protocol

Sources: SimpleFIN Protocol (simplefin.org/protocol.html), and the developer guide of SimpleFIN Bridge
(bridge.simplefin.org/info/developers). Where the protocol leaves it open, the server does what the Bridge is known to
do: a range of more than 90 days is capped, with the error `gen.api` inside a 200 (firefly-iii/firefly-iii#12128,
securo-finance/securo#919), and a pending transaction gets another id when it is posted (we-promise/sure#602).
"""

import hmac
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dev.bank.api import fault_injection
from dev.bank.api.auth import Credentials
from dev.bank.api.errors import ApiError
from dev.bank.bank import Bank
from dev.bank.changes import Access, AccessChanged, SetupTokenClaimed
from dev.bank.faults import Fault
from dev.bank.simplefin import access, account_set
from dev.bank.simplefin.access import CodeUnknown, User
from dev.bank.simplefin.account_set import AccountSet, Query
from dev.bank.simplefin.quota import REQUESTS_PER_DAY, Quota
from dev.bank.world.seed import pack

ROOT = "/simplefin"
ACCOUNTS_PATH = f"{ROOT}/accounts"

Handler = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """A request is refused, with an error code of the protocol."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def routes(credentials: Credentials) -> list[Route]:
    """Return the routes of the server; each request reads `app.state.bank`."""
    quota = Quota()

    async def get_accounts(request: Request) -> Response:
        return await _get_accounts(request, quota)

    async def create(request: Request) -> Response:
        return _create_setup_token(request, credentials)

    return [
        Route(f"{ROOT}/info", _info, methods=["GET"]),
        Route(f"{ROOT}/create", _answering(create), methods=["GET"]),
        Route(f"{ROOT}/claim/{{code}}", _answering(_claim), methods=["POST"]),
        Route(ACCOUNTS_PATH, _answering(get_accounts), methods=["GET"]),
    ]


def _answering(handler: Handler) -> Handler:
    """Return a handler that answers errors as the protocol does."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as refused:
            return _json(_document(AccountSet([{"code": refused.code, "msg": str(refused)}])), refused.status)
        except ApiError as error:
            answer = _json(_document(AccountSet([{"code": "gen.", "msg": error.message}])), error.status)
            answer.headers.update(error.headers)
            return answer

    return handle


async def _info(_request: Request) -> Response:
    return _json({"versions": ["1", "2"]})


def _create_setup_token(request: Request, credentials: Credentials) -> Response:
    given = access.read_basic(request.headers.get("authorization", ""))
    expected = (credentials.client_id, credentials.secret)
    if not all(hmac.compare_digest(*pair) for pair in zip(given, expected, strict=True)):
        raise Refused(HTTPStatus.FORBIDDEN, "gen.auth", "send client id and secret of the bank, as basic auth")
    bank: Bank = request.app.state.bank
    text = request.query_params.get("user", "")
    try:
        user = User.of(bank, int(text))
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "gen.api", f"user {text!r}: {error}") from None
    code = access.new_code(bank.key, user.number)
    return PlainTextResponse(b64encode(f"{_root_url(request)}/claim/{code}".encode()).decode())


async def _claim(request: Request) -> Response:
    """Return the access URL; a user whose token is claimed has mended what did not work before."""
    bank: Bank = request.app.state.bank
    code = str(request.path_params["code"])
    try:
        user = User.of(bank, access.read_code(bank.key, code))
    except CodeUnknown:
        raise _forbidden("there is no such setup token") from None
    if bank.changes.is_claimed(code):
        raise _forbidden("the setup token was claimed before; if not by you, its user should disable it")
    bank.changes.record(SetupTokenClaimed(code))
    for item in user.items:
        bank.faults.restore_item(item)
        if bank.changes.access(item) is Access.LOCKED:
            bank.changes.record(AccessChanged(item, Access.OPEN))
    scheme, _, rest = _root_url(request).partition("://")
    return PlainTextResponse(f"{scheme}://{code}:{access.password(bank.key, code)}@{rest}")


async def _get_accounts(request: Request, quota: Quota) -> Response:
    bank: Bank = request.app.state.bank
    code, given_password = access.read_basic(request.headers.get("authorization", ""))
    if not access.is_valid(bank, code, given_password):
        raise _forbidden("Authentication failed" if code else "No credentials provided")
    user = User.of(bank, access.read_code(bank.key, code))
    query = _read_query(request)
    requests = quota.count(code, query.accounts, today=bank.today)
    if quota.is_disabled(code):
        raise _forbidden("access was disabled, since it was used too often")
    _require_access(bank, user)
    subject = bank.faults.count_request(user.items[0], ACCOUNTS_PATH)
    if subject and (fault_response := await fault_injection.inject_before(bank, ACCOUNTS_PATH, subject)):
        return fault_response
    answer = account_set.read(bank, user, query, subject=subject)
    if requests > REQUESTS_PER_DAY:
        message = f"{requests} requests today; make {REQUESTS_PER_DAY} or fewer, or access will be disabled"
        answer.errors.append({"code": "gen.", "msg": message})
    response = _json(_document(answer, version=request.query_params.get("version", "1")))
    return fault_injection.inject_after(bank, response, subject) if subject else response


def _require_access(bank: Bank, user: User) -> None:
    if bank.faults.strikes(bank.key, Fault.WRONG_ENVIRONMENT, pack(bank.today.toordinal())):
        raise _forbidden("Authentication failed")
    if bank.faults.strikes_item(bank.key, Fault.REVOKED, user.items[0]):
        raise _forbidden("access was disabled by its user")


def _read_query(request: Request) -> Query:
    parameters = request.query_params
    return Query(
        _read_instant(request, "start-date"),
        _read_instant(request, "end-date"),
        has_pending=parameters.get("pending") == "1",
        has_transactions=parameters.get("balances-only") != "1",
        accounts=tuple(parameters.getlist("account")),
    )


def _read_instant(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        message = f"{name} is {text[:40]!r}; send seconds since 1970"
        raise Refused(HTTPStatus.BAD_REQUEST, "gen.api", message) from None


def _document(answer: AccountSet, *, version: str = "2") -> dict[str, Any]:
    """Return an answer as the document of a version; version 1 has texts only, and the institution in each account."""
    if version == "2":
        return {"errlist": answer.errors, "connections": answer.connections, "accounts": answer.accounts}
    connections = {each["conn_id"]: each for each in answer.connections}
    accounts = [
        {
            "org": {
                "name": connections[each["conn_id"]]["org_name"],
                "sfin-url": connections[each["conn_id"]]["sfin_url"],
            },
            **{name: value for name, value in each.items() if not name.startswith("conn_")},
        }
        for each in answer.accounts
    ]
    return {"errors": [each["msg"] for each in answer.errors], "accounts": accounts}


def _forbidden(message: str) -> Refused:
    return Refused(HTTPStatus.FORBIDDEN, "gen.auth", message)


def _root_url(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{ROOT}"


def _json(content: object, status: int = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(content), status_code=status, media_type="application/json")
