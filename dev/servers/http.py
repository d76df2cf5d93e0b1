"""GET requests to a loopback port, which ignore any proxy that the environment names."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any

from dev.servers.ports import LOOPBACK

_TIMEOUT_SECONDS = 5
_OK = 200


def get_json(port: int, path: str) -> Any:  # noqa: ANN401 - it is JSON
    """Return the JSON that a path returns with status 200; None for any other response or none."""
    connection = HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return json.loads(response.read()) if response.status == _OK else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def is_ok(port: int, path: str) -> bool:
    """Return whether a path returns status 200."""
    connection = HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == _OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
