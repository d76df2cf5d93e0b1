"""What a response asks for other than to continue: the first declared error rule that it matches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from etl.clients import http
from etl.declare.provider import ErrorAction, ErrorRule, Provider
from etl.errors import ProviderRefused
from etl.json_text import DECODE_ERRORS
from etl.sync.records.frames import Gap

CREDENTIALS_UNUSABLE = "CREDENTIALS_UNUSABLE"
"""Code of a login whose token or id has a line break or another character that no header can hold."""

_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429
_MAX_ERROR_SIZE = 1 << 20
"""Bytes of an error response above which its body is not decoded."""

_MAX_TEXT_LENGTH = 256
"""Characters of what a response says of its gaps."""


class ProviderCallFailed(Exception):
    """A provider's response, or the lack of one, asks for an action other than to continue.

    Parameters
    ----------
    action
        The action that its error rules declare.
    code
        Its error code, or a description of what went wrong.
    retry_after
        Wait before the next call, if one is known.
    """

    def __init__(self, action: ErrorAction, code: str, retry_after: timedelta | None = None) -> None:
        super().__init__(f"{code} ({action.value})")
        self.action = action
        self.code = code
        self.retry_after = retry_after


class AnswerTooLarge(ProviderCallFailed):
    """A response has more bytes or records than any that was asked for; it is not requested again."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorAction.RETRY, detail)


class LargeAnswer(AnswerTooLarge):
    """A response has more bytes than one may have while other accounts are read."""


class QuotaExhausted(ProviderCallFailed):
    """A login has no call left that the provider allows; it is asked again in hours or days."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(ErrorAction.RETRY, "no call left of its quota", wait)


def find_failure(
    provider: Provider, path: str, status: int, content: bytes, *, wait: timedelta | None, sends_cursor: bool
) -> Exception:
    """Return the failure that an error response is.

    Parameters
    ----------
    path
        Path of the endpoint.
    wait
        How long the response asks to wait.
    sends_cursor
        Whether the request had a cursor; only then can it be lost.
    """
    body = _decode(content) if len(content) <= _MAX_ERROR_SIZE else None
    code = next(filter(None, map(http.printable_or_none, texts_at(body, provider.error_code))), None)
    code = code or f"HTTP {status}"
    for rule in provider.errors:
        if rule.action is ErrorAction.REREAD_FEED and not sends_cursor:
            continue
        if rule.status in (None, status) and _has_code(provider, rule, body):
            return ProviderCallFailed(rule.action, _code_of(rule, code), wait)
    if status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS:
        return ProviderCallFailed(ErrorAction.RETRY, code, wait)
    return ProviderRefused(provider.name, f"{path} answered {code}, HTTP {status}")


def check_errors_inside(
    provider: Provider, status: int, content: bytes, *, wait: timedelta | None, sends_cursor: bool
) -> tuple[Gap, ...]:
    """Return what a successful response says that it lacks; raise if it holds an error that asks for an action.

    Raises
    ------
    ProviderCallFailed
        With the action of the first rule for the status that finds one.
    """
    gaps: dict[bytes, Gap] = {}
    for rule in provider.errors:
        if rule.status != status or (rule.action is ErrorAction.REREAD_FEED and not sends_cursor):
            continue
        body = _decode_field(content, rule.field or provider.error_code)
        if rule.action is ErrorAction.INCOMPLETE:
            for error, gap in _find_gaps(provider, rule, body):
                gaps.setdefault(error, gap)
        elif _has_code(provider, rule, body):
            raise ProviderCallFailed(rule.action, _code_of(rule, f"HTTP {status}"), wait)
    return tuple(gaps.values())


def is_declared_error(provider: Provider, status: int, content: bytes) -> bool:
    """Return whether a rule names the code of an error response, which is then about the login, not about the token."""
    body = _decode(content) if len(content) <= _MAX_ERROR_SIZE else None
    rules = (rule for rule in provider.errors if rule.code is not None and rule.status in (None, status))
    return any(_has_code(provider, rule, body) for rule in rules)


def find_wait(provider: Provider, status: int, headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """Return the longest wait that the headers of a response ask for; None if they ask for none.

    The declared headers count with HTTP 429 only: many providers send them with every response.
    """
    names = ("Retry-After", *(provider.wait_headers if status == _TOO_MANY_REQUESTS else ()))
    waits = [http.parse_retry_after(headers.get(name), now=now) for name in names]
    return max(filter(None, waits), default=next((wait for wait in waits if wait is not None), None))


def texts_at(document: Any, path: str) -> list[str]:  # noqa: ANN401 - any JSON
    """Return the texts and numbers at a path of a document, as text; see `values_at`."""
    values = values_at(document, path)
    return [str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)]


def values_at(document: Any, path: str) -> list[Any]:  # noqa: ANN401 - any JSON
    """Return the values at a path of a document, where `[]` stands for each item of a list."""
    values = [document]
    for step in path.split("."):
        name, is_list = step.removesuffix("[]"), step.endswith("[]")
        values = [value[name] for value in values if isinstance(value, dict) and name in value]
        if is_list:
            values = [item for value in values if isinstance(value, list) for item in value]
    return values


def _has_code(provider: Provider, rule: ErrorRule, body: Any) -> bool:  # noqa: ANN401 - any JSON
    if rule.code is None:
        return True
    return any(fnmatchcase(text, rule.code) for text in texts_at(body, rule.field or provider.error_code))


def _find_gaps(
    provider: Provider,
    rule: ErrorRule,
    body: Any,  # noqa: ANN401 - any JSON
) -> Iterator[tuple[bytes, Gap]]:
    """Yield each error that a rule matches, and what is lacking; one that does not name its part is about all rows."""
    holders, _, name = (rule.field or provider.error_code).rpartition(".")
    for error in values_at(body, holders) if holders else [body]:
        code = next(iter(texts_at(error, name)), None)
        if code is None or not fnmatchcase(code, rule.code or "*"):
            continue
        part = next(filter(None, texts_at(error, rule.part.field)), "") if rule.part else ""
        column = rule.part.column if rule.part and part else ""
        detail = next(iter(texts_at(error, rule.detail)), "") if rule.detail else ""
        yield msgspec.json.encode(error), Gap(_printable(code), column, _printable(part), _printable(detail))


def _printable(text: str) -> str:
    """Return a text that can be stored and shown."""
    return "".join(filter(str.isprintable, text))[:_MAX_TEXT_LENGTH]


def _code_of(rule: ErrorRule, code: str) -> str:
    """Return the code to show: that of the rule, where the response has none of its own."""
    declared = http.printable_or_none((rule.code or "").replace("*", " ").strip()) if rule.field else None
    return declared if declared and code.startswith("HTTP ") else code


def _decode(content: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return msgspec.json.decode(content)
    except DECODE_ERRORS:
        return None


def _decode_field(content: bytes, path: str) -> Any:  # noqa: ANN401 - any JSON
    """Return a document with the first field of a path only; the others, such as the records, are not decoded."""
    name = path.split(".", maxsplit=1)[0].removesuffix("[]")
    try:
        document = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        return {name: msgspec.json.decode(document[name])} if name in document else None
    except DECODE_ERRORS:
        return None
