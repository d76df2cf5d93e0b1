"""Addresses that get nothing: what a file of them may hold, and what spoils only itself."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest

from etl.catalog.channels import DESKTOP, EMAIL, PUSH
from etl.db.connection import Connection
from etl.declare.channel import Channel
from etl.notify import suppress as step
from etl.notify.store import suppressions
from etl.notify.store.suppressions import SuppressionFilter
from etl.notify.suppress import ImportResult, SuppressionInvalid, suppress_address, suppress_from_csv

Rows = Callable[..., list[tuple[object, ...]]]
KEPT = "select address, reason from notify.suppressions order by address"


def read(
    db: Connection, content: bytes, *, reason: str | None = "bounced", medium: Channel = EMAIL
) -> tuple[ImportResult, list[tuple[int, str]]]:
    """Suppress the lines of a file, and return what was done and which lines are wrong."""
    wrong: list[tuple[int, str]] = []
    done = suppress_from_csv(
        medium,
        BytesIO(content),
        default_reason=reason,
        db=db,
        on_invalid=lambda *line: wrong.append(line),
    )
    return done, wrong


def test_a_file_says_who_and_why_and_its_header_is_nobody(db: Connection, rows: Rows) -> None:
    content = '\ufeffAddress,Reason\r\nJoe@Home.example, complained\r\n"ann@home.example",\r\n\r\nMÜ@home.example'
    assert read(db, content.encode()) == (ImportResult(added=3), [])
    assert rows(KEPT) == [
        ("ann@home.example", "bounced"),
        ("joe@home.example", "complained"),
        ("mü@home.example", "bounced"),
    ]


def test_a_bad_line_is_told_by_its_number_and_spoils_no_other(db: Connection, rows: Rows) -> None:
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
    done, wrong = read(db, b"\n".join(lines))
    assert done == ImportResult(added=2, invalid=7)
    assert [number for number, _ in wrong] == [2, 3, 4, 5, 6, 7, 8]
    assert not [found for _, found in wrong if "home.example" in found]
    assert rows(KEPT) == [("a@home.example", "bounced"), ("f@home.example", "bounced")]


def test_a_line_without_a_reason_needs_one_for_all(db: Connection) -> None:
    done, wrong = read(db, b"a@home.example\nb@home.example,asked\n", reason=None)
    assert done == ImportResult(added=1, invalid=1)
    assert wrong == [(1, "no reason of 1 to 100 characters that can be seen")]


def test_what_is_known_keeps_its_reason_and_since_when(db: Connection, rows: Rows) -> None:
    assert suppress_address(EMAIL, "Joe@home.example", "complained", db=db)
    since = rows("select since from notify.suppressions")
    assert not suppress_address(EMAIL, "joe@HOME.example", "bounced", db=db)
    assert read(db, b"joe@home.example\nann@home.example\nANN@home.example\n")[0] == ImportResult(added=1, existing=2)
    assert rows("select reason, since from notify.suppressions where address like 'joe%%'") == [
        ("complained", since[0][0])
    ]


def test_a_long_file_is_read_a_page_at_a_time_and_what_was_read_is_kept(
    db: Connection, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    monkeypatch.setattr(step, "BATCH_SIZE", 10)
    content = b"".join(b"user%d@home.example\n" % number for number in range(35))
    held = set()

    class Lines(BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            held.add(rows("select count(*) from notify.suppressions")[0][0])
            return super().readline(size)

    def ignore(_number: int, _found: str) -> None:
        raise AssertionError

    assert suppress_from_csv(EMAIL, Lines(content), default_reason="x", db=db, on_invalid=ignore) == ImportResult(
        added=35
    )
    assert held >= {0, 10, 20, 30}


@pytest.mark.parametrize(
    ("medium", "address"),
    [(EMAIL, "joe"), (EMAIL, ""), (DESKTOP, "token"), (PUSH, ""), (PUSH, "a\0"), (PUSH, "\udcff")],
)
def test_what_is_no_address_of_its_channel_is_refused(db: Connection, medium: Channel, address: str) -> None:
    with pytest.raises(SuppressionInvalid, match=f"no address of {medium.name}, so nothing was suppressed"):
        suppress_address(medium, address, "asked", db=db)


def test_only_the_case_of_a_mail_address_does_not_matter(db: Connection) -> None:
    suppress_address(PUSH, "Token", "asked", db=db)
    suppress_address(EMAIL, "Joe@home.example", "asked", db=db)
    assert not suppressions.remove(db, PUSH, "token")
    assert not suppressions.remove(db, PUSH, "Joe@home.example")
    assert suppressions.remove(db, PUSH, "Token")
    assert suppressions.remove(db, EMAIL, "JOE@home.example")
    assert suppressions.count_by_reason(db, SuppressionFilter()) == []
