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
        ("9" * 9, timedelta(days=366)),
        ("Fri, 31 Dec 9999 23:59:59 -2300", timedelta(days=366)),
    ],
)
def test_retry_after_is_parsed_from_seconds_or_a_date(header: str, wait: timedelta) -> None:
    assert http.parse_retry_after(header, now=NOW) == wait


@pytest.mark.parametrize(
    "header",
    [None, "", "soon", "-1", "1.5", "٥", "9" * 10, "Fri, 99 Nov 2026 08:00:30 GMT", "1 Jan 1 0:0:0 +" + "9" * 30],
)
def test_an_invalid_retry_after_is_none(header: str | None) -> None:
    assert http.parse_retry_after(header, now=NOW) is None
