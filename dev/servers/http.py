"""One GET to a loopback port, past any proxy that the environment names."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any

from dev.servers.ports import LOOPBACK

_TIMEOUT_SECONDS = 5
_OK = 200


def get_json(port: int, path: str) -> Any:  # noqa: ANN401 - it is JSON
    """Return the JSON that a path answers with, None as long as it does not."""
    connection = HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == _OK else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def is_ok(port: int, path: str) -> bool:
    """Tell whether a path answers 200."""
    connection = HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == _OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
