"""Suppressed addresses: import of a CSV file, and its invalid lines."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest

from etl.catalog.channels import DESKTOP, EMAIL, PUSH
from etl.db.connection import Connection
from etl.declare.channel import Channel
from etl.notify import suppress
from etl.notify.store import suppressions
from etl.notify.store.suppressions import SuppressionFilter
from etl.notify.suppress import ImportResult, SuppressionInvalid, suppress_address, suppress_from_csv

Rows = Callable[..., list[tuple[object, ...]]]
SUPPRESSIONS = "select address, reason from notify.suppressions order by address"


def import_csv(
    db: Connection, content: bytes, *, reason: str | None = "bounced", channel: Channel = EMAIL
) -> tuple[ImportResult, list[tuple[int, str]]]:
    """Import a CSV file, and return the result and the invalid lines."""
    invalid_lines: list[tuple[int, str]] = []
    result = suppress_from_csv(
        channel,
        BytesIO(content),
        default_reason=reason,
        db=db,
        on_invalid=lambda *line: invalid_lines.append(line),
    )
    return result, invalid_lines


def test_file_holds_addresses_and_reasons_and_its_header_is_skipped(db: Connection, rows: Rows) -> None:
    content = '\ufeffAddress,Reason\r\nJoe@Home.example, complained\r\n"ann@home.example",\r\n\r\nMÜ@home.example'
    assert import_csv(db, content.encode()) == (ImportResult(added=3), [])
    assert rows(SUPPRESSIONS) == [
        ("ann@home.example", "bounced"),
        ("joe@home.example", "complained"),
        ("mü@home.example", "bounced"),
    ]


def test_invalid_line_is_reported_by_number_and_does_not_affect_others(db: Connection, rows: Rows) -> None:
    lines = [
        b"a@home.example",
        b"nobody",
        b'"b@home.example',
        b"\xff@home.example",
        b"c\0@home.example",
        b"d@home.example,two\x1breasons",
        b"e@home.example,a,b",
        b"x" * 300_000 + b"@home.example",
        b"f@home.example",
    ]
    result, invalid_lines = import_csv(db, b"\n".join(lines))
    assert result == ImportResult(added=2, invalid=7)
    assert [number for number, _ in invalid_lines] == [2, 3, 4, 5, 6, 7, 8]
    assert not [reason for _, reason in invalid_lines if "home.example" in reason]
    assert rows(SUPPRESSIONS) == [("a@home.example", "bounced"), ("f@home.example", "bounced")]


def test_line_without_a_reason_needs_a_default_reason(db: Connection) -> None:
    result, invalid_lines = import_csv(db, b"a@home.example\nb@home.example,asked\n", reason=None)
    assert result == ImportResult(added=1, invalid=1)
    assert invalid_lines == [(1, "the reason must have 1 to 100 printable characters")]


def test_existing_suppression_keeps_its_reason_and_time(db: Connection, rows: Rows) -> None:
    assert suppress_address(EMAIL, "Joe@home.example", "complained", db=db)
    since = rows("select since from notify.suppressions")
    assert not suppress_address(EMAIL, "joe@HOME.example", "bounced", db=db)
    assert import_csv(db, b"joe@home.example\nann@home.example\nANN@home.example\n")[0] == ImportResult(
        added=1, existing=2
    )
    assert rows("select reason, since from notify.suppressions where address like 'joe%%'") == [
        ("complained", since[0][0])
    ]


def test_long_file_is_stored_in_batches_while_it_is_read(
    db: Connection, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    monkeypatch.setattr(suppress, "BATCH_SIZE", 10)
    content = b"".join(b"user%d@home.example\n" % number for number in range(35))
    stored_counts = set()

    class Lines(BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            stored_counts.add(rows("select count(*) from notify.suppressions")[0][0])
            return super().readline(size)

    def ignore(_number: int, _reason: str) -> None:
        raise AssertionError

    assert suppress_from_csv(EMAIL, Lines(content), default_reason="x", db=db, on_invalid=ignore) == ImportResult(
        added=35
    )
    assert stored_counts >= {0, 10, 20, 30}


@pytest.mark.parametrize(
    ("channel", "address"),
    [(EMAIL, "joe"), (EMAIL, ""), (DESKTOP, "token"), (PUSH, ""), (PUSH, "a\0"), (PUSH, "\udcff")],
)
def test_invalid_address_of_a_channel_is_refused(db: Connection, channel: Channel, address: str) -> None:
    with pytest.raises(SuppressionInvalid, match=f"not a valid {channel.name} address, so nothing was suppressed"):
        suppress_address(channel, address, "asked", db=db)


def test_only_email_addresses_ignore_case(db: Connection) -> None:
    suppress_address(PUSH, "Token", "asked", db=db)
    suppress_address(EMAIL, "Joe@home.example", "asked", db=db)
    assert not suppressions.remove(db, PUSH, "token")
    assert not suppressions.remove(db, PUSH, "Joe@home.example")
    assert suppressions.remove(db, PUSH, "Token")
    assert suppressions.remove(db, EMAIL, "JOE@home.example")
    assert suppressions.count_by_reason(db, SuppressionFilter()) == []
