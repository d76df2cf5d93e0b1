"""Answers that the documentation of a provider shows: the truth that its error rules are compared with.

Without them, errors are made from the rules themselves, so that a rule with a wrong code looks right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from etl.conform.server import Answer
from etl.errors import PermanentError

CHANGED = "changed while read"
LOGIN_NEEDED = "login needed"
RATE_LIMITED = "rate limited"
_NAMES = (CHANGED, LOGIN_NEEDED, RATE_LIMITED)

Documented = Mapping[str, Sequence[Answer]]
"""Behaviour → answers that the provider gives in it."""


class DocumentedUnreadable(PermanentError):
    """A file of documented answers cannot be read."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            f"{path}: {detail}; write a JSON object with some of {', '.join(map(repr, _NAMES))}, each a list of "
            "objects with `status`, `body`, and perhaps `headers`."
        )


def load(path: Path) -> Documented:
    """Return the answers of a file.

    Raises
    ------
    DocumentedUnreadable
        If it has another form.
    """
    try:
        document = json.loads(path.read_bytes())
        for name in document:
            if name not in _NAMES:
                raise DocumentedUnreadable(path, f"{name!r} is no behaviour that it may document")
        return {name: [_answer(each) for each in answers] for name, answers in document.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DocumentedUnreadable(path, f"it cannot be read: {type(error).__name__}: {error}") from None


def _answer(document: Mapping[str, object]) -> Answer:
    headers = document.get("headers") or {}
    if not isinstance(headers, dict):
        raise TypeError("headers is no object")
    body = json.dumps(document["body"]).encode()
    return Answer(int(str(document["status"])), body, {name: str(value) for name, value in headers.items()})
