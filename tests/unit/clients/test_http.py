from datetime import UTC, datetime, timedelta

import pytest

from etl.clients import http

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", timedelta(seconds=7)),
        ("0", timedelta()),
        ("Fri, 20 Nov 2026 08:00:30 GMT", timedelta(seconds=30)),
        ("Fri, 20 Nov 2026 09:00:30 +0100", timedelta(seconds=30)),
        ("Fri, 20 Nov 2026 08:00:30 -0000", timedelta(seconds=30)),
        ("Fri, 20 Nov 2026 07:59:59 GMT", timedelta()),
    ],
)
def test_a_provider_is_left_alone_for_the_seconds_or_until_the_date_that_it_says(header: str, wait: timedelta) -> None:
    assert http.parse_retry_after(header, now=NOW) == wait


@pytest.mark.parametrize(
    "header",
    [None, "", "soon", "-1", "1.5", "٥", "9" * 10, "Fri, 99 Nov 2026 08:00:30 GMT", "1 Jan 1 0:0:0 +" + "9" * 30],
)
def test_a_wait_that_cannot_be_read_is_none(header: str | None) -> None:
    assert http.parse_retry_after(header, now=NOW) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 100_000,
        b'{"causes": ' + b"[" * 100_000,
        b'{"error_code": 5}',
        b'{"error_code": "caf\xe9"}',
        b'{"error_code": "nul\\u0000"}',
        b'{"error_code": "line\\nbreak"}',
        b'{"error_code": "%s"}' % (b"x" * 101),
        b'{"error_code": ""}',
    ],
)
def test_an_error_code_that_is_not_legible_is_none(content: bytes) -> None:
    assert http.parse_error(content).error_code is None


def test_a_legible_error_code_is_kept_as_it_is() -> None:
    found = http.parse_error(b'{"error_type": "ITEM_ERROR", "error_code": "ITEM_LOGIN_REQUIRED", "status": 400}')
    assert (found.error_type, found.error_code) == ("ITEM_ERROR", "ITEM_LOGIN_REQUIRED")
