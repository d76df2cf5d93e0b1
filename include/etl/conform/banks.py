"""The two banks behind the proxy: the provider itself, whose pages are recorded, and one that plays them again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit

from etl.conform import shape
from etl.conform.calls import Call, asks_for, find_login, is_at, next_target, position_after, position_of, with_position
from etl.conform.reel import ORIGIN, Page, Reel
from etl.conform.server import Answer
from etl.declare.api.auth import AccessUrl, ClientCredentials, RefreshToken, TokenRequest
from etl.declare.entity import Entity
from etl.declare.source import Feed, Snapshot, Source
from etl.settings import Endpoint
from etl.sync.provider.enrolment import GrantedItem
from etl.sync.provider.failures import texts_at

MAX_ASKED = 300
"""Calls about one login in one run after which a bank that is asked for ever ends it."""

_OK = 200
_NOT_FOUND = 404
_TOO_MANY_REQUESTS = 429
_BAD_GATEWAY = 502
_NOT_FORWARDED = {"host", "connection", "accept-encoding", "content-length", "transfer-encoding"}
_REDACTED = "redacted"
_JSON = {"Content-Type": "application/json"}
_MIN_SECRET = 4
"""Characters of a secret; a shorter text is none, and stands in many answers by chance."""


def token_requests(entity: Entity) -> list[TokenRequest]:
    """Return the requests by which its provider issues tokens."""
    match entity.provider.auth:
        case ClientCredentials(token=token, refresh=refresh):
            return [token, refresh] if refresh else [token]
        case RefreshToken(token=token):
            return [token]
    return []


def credentials_of(items: Sequence[GrantedItem]) -> list[list[str]]:
    """Return what tells the calls of each login from those of all others."""
    known = [[item.item_id, item.access_token, *_user_of(item.access_token)] for item in items]
    shared = Counter(each for login in known for each in set(login))
    return [[each for each in login if each and shared[each] == 1] for login in known]


class Recorder:
    """Passes calls on to a provider, and records the pages that it sends; secrets are not recorded.

    Parameters
    ----------
    entity, source
        What is read.
    endpoint
        Address and client credentials of the provider.
    items
        Its logins, with their real tokens.
    """

    def __init__(self, entity: Entity, source: Source, endpoint: Endpoint, items: Sequence[GrantedItem]) -> None:
        self.reel = Reel(source.name, source.page_size, [[] for _ in items])
        self.failure = ""
        self._entity = entity
        self._source = source
        self._endpoint = endpoint
        self._credentials = credentials_of(items)
        self._secrets = {endpoint.password, *(item.access_token for item in items)}
        self._secrets |= {unquote(urlsplit(item.access_token).password or "") for item in items}
        self._last_calls: dict[int, Call] = {}
        self._lock = threading.Lock()

    def respond(self, call: Call) -> Answer:
        """Return the provider's answer, with its own address replaced by that of the proxy."""
        status, headers, body = self._forward(call)
        with self._lock:
            if any(call.path.endswith(request.path) for request in token_requests(self._entity)):
                self._note_tokens(call, body)
            elif status == _OK:
                self._record(call, headers, body)
        proxied = {name: _replace_origin(value, self._origin, call.origin) for name, value in headers.items()}
        return Answer(
            status, _replace_origin(body.decode("latin-1"), self._origin, call.origin).encode("latin-1"), proxied
        )

    def ask_beyond(self, login: int) -> None:
        """Ask for what follows the last page of a login, and record how many records it has."""
        pages, call = self.reel.logins[login], self._last_calls.get(login)
        position = position_after(self._source, pages) if pages else None
        beyond = with_position(call, self._source, position) if call and position is not None else None
        if beyond is None:
            return
        status, _, body = self._forward(beyond)
        seen = [records[index] for records, index in shape.records_of(self._source, pages[-1].document)]
        found = (records[index] for records, index in shape.records_of(self._source, _decode(body)))
        if status == _OK:
            self.reel.goes_on = sum(record not in seen for record in found)

    @property
    def _origin(self) -> str:
        parts = urlsplit(self._endpoint.host)
        return f"{parts.scheme}://{parts.netloc}"

    def _forward(self, call: Call) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(self._endpoint.host)
        timeout = self._entity.provider.timeout.total_seconds()
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        headers = {name: value for name, value in call.headers.items() if name not in _NOT_FORWARDED}
        try:
            connection.request(call.method, call.target, body=call.body or None, headers=headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            self.failure = f"{self._origin} does not answer: {type(error).__name__}"
            return _BAD_GATEWAY, {}, b""
        finally:
            connection.close()
        kept = {"content-type", "link", "retry-after", *map(str.lower, self._entity.provider.wait_headers)}
        return response.status, {name: value for name, value in response.getheaders() if name.lower() in kept}, content

    def _record(self, call: Call, headers: dict[str, str], body: bytes) -> None:
        followed = _followed(call, self._source, self.reel, self._credentials)
        login = followed[0] if followed else find_login(call, self._credentials)
        if login is None or not (followed or asks_for(call, self._source)):
            return
        document = _decode(self._hide(_replace_origin(body.decode(errors="replace"), self._origin, ORIGIN)).encode())
        if document is not None:
            link = next((value for name, value in headers.items() if name.lower() == "link"), "")
            position = followed[1] if followed else position_of(call, self._source)
            self._last_calls[login] = call
            self.reel.add(login, Page(position, document, self._hide(_replace_origin(link, self._origin, ORIGIN))))

    def _note_tokens(self, call: Call, body: bytes) -> None:
        """Remember whose the tokens are that the provider issues."""
        login, document = find_login(call, self._credentials), _decode(body)
        for request in token_requests(self._entity):
            for path in filter(None, (request.access_token, request.refresh_token)):
                tokens = texts_at(document, path)
                self._secrets |= set(tokens)
                if login is not None and isinstance(self._entity.provider.auth, RefreshToken):
                    self._credentials[login] += tokens

    def _hide(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _REDACTED) if len(secret) >= _MIN_SECRET else text
        return text


@dataclass(frozen=True)
class Asked:
    """A call for a page of the reel.

    Parameters
    ----------
    login
        Index of the login.
    index
        Index of the page; behind the last one if it asks for what comes after the end.
    times
        How often this page was asked for since the run began, with this call.
    at
        When, in seconds.
    """

    login: int
    index: int
    times: int
    at: float


Intercept = Callable[[Asked], Answer | None]


@dataclass
class PlayedBank:
    """Answers from a reel, as a provider with invented logins.

    Parameters
    ----------
    entity, source
        What is read.
    reel
        What it has.
    intercept
        Called with each call; what it returns is sent instead of the page.
    asked
        The calls since the run began.
    """

    entity: Entity
    source: Feed | Snapshot
    reel: Reel
    intercept: Intercept = lambda _: None
    asked: list[Asked] = field(default_factory=list)
    is_endless: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def items(self, origin: str) -> list[GrantedItem]:
        """Return its logins, with invented tokens; a token that is a URL leads to `origin`."""
        items = []
        for login in range(len(self.reel.logins)):
            name = f"conform-{login:04}"
            token = f"token-of-{name}"
            if isinstance(self.entity.provider.auth, AccessUrl):
                scheme, _, host = origin.partition("://")
                token = f"{scheme}://user-of-{name}:password@{host}"
            items.append(GrantedItem(f"item-of-{name}", token))
        return items

    def begin_run(self) -> None:
        """Count calls from 1 again."""
        self.asked, self.is_endless = [], False

    def respond(self, call: Call) -> Answer:
        """Return the answer to a call."""
        with self._lock:
            for request in token_requests(self.entity):
                if call.path.endswith(request.path):
                    return self._issue(request, call)
            asked = self._find(call)
            if asked is None:
                return Answer(_NOT_FOUND, shape.encode({"conform": "no such page in the recording"}), _JSON)
            self.asked.append(asked)
            if sum(each.login == asked.login for each in self.asked) > MAX_ASKED:
                self.is_endless = True
                return Answer(_TOO_MANY_REQUESTS, b"", {"Retry-After": "7200"})
        intercepted = self.intercept(asked)
        return self._at(intercepted or self.page(asked.login, asked.index), call.origin)

    def page(self, login: int, index: int) -> Answer:
        """Return a page; behind the last, an empty one."""
        pages = self.reel.logins[login]
        page = pages[index] if index < len(pages) else self._end(pages[-1])
        return Answer(_OK, shape.encode(page.document), _JSON | ({"Link": page.link} if page.link else {}))

    def _find(self, call: Call) -> Asked | None:
        credentials = credentials_of(self.items(call.origin))
        followed = _followed(call, self.source, self.reel, credentials)
        login, position = followed or (find_login(call, credentials), position_of(call, self.source))
        if login is None or not self.reel.logins[login] or not (followed or asks_for(call, self.source)):
            return None
        index = self.reel.find(login, position)
        if index is None and self._is_behind_end(login, position):
            index = len(self.reel.logins[login])
        times = 1 + sum((each.login, each.index) == (login, index) for each in self.asked)
        return None if index is None else Asked(login, index, times, monotonic())

    def _is_behind_end(self, login: int, position: str) -> bool:
        last = self.reel.logins[login][-1]
        if isinstance(self.source, Feed):
            return texts_at(last.document, self.source.cursor) == [position]
        return position.isdecimal() and int(position) > int(last.position or 0 if last.position.isdecimal() else 0)

    def _end(self, last: Page) -> Page:
        document = deepcopy(last.document)
        shape.empty_lists(self.source, document)
        return Page(last.position, document)

    def _issue(self, request: TokenRequest, call: Call) -> Answer:
        """Return a token response; the token of a login is the one that it was asked with."""
        items = self.items(call.origin)
        login = find_login(call, credentials_of(items))
        document: dict[str, Any] = {}
        for path in filter(None, (request.access_token, request.refresh_token)):
            shape.set_value(document, path, "token-of-all" if login is None else items[login].access_token)
        if request.expires_in:
            shape.set_value(document, request.expires_in, 3600)
        return Answer(_OK, shape.encode(document), _JSON)

    def _at(self, answer: Answer, origin: str) -> Answer:
        headers = {name: value.replace(ORIGIN, origin) for name, value in answer.headers.items()}
        return Answer(answer.status, answer.body.replace(ORIGIN.encode(), origin.encode()), headers, answer.is_cut)


def _followed(call: Call, source: Source, reel: Reel, credentials: Sequence[Sequence[str]]) -> tuple[int, str] | None:
    """Return the login and the link that a call follows; None if it follows none.

    A link may be the same for all logins; then the credentials tell them apart.
    """
    targets = {
        login: target
        for login, pages in enumerate(reel.logins)
        for page in pages
        if (target := next_target(source, page)) and is_at(call, target)
    }
    login = find_login(call, credentials)
    login = login if login in targets else next(iter(targets), None)
    return None if login is None else (login, targets[login])


def _decode(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return shape.decode(body)
    except ValueError:
        return None


def _replace_origin(text: str, origin: str, other: str) -> str:
    return text.replace(origin, other).replace(origin.replace("/", r"\/"), other.replace("/", r"\/"))


def _user_of(token: str) -> list[str]:
    """Return the user name of an access URL."""
    return [user for user in [urlsplit(token).username] if user] if "://" in token else []
