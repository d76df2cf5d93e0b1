"""Addresses that get nothing: what a file of them may hold, and what spoils only itself."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest

from etl.catalog.channels import DESKTOP, EMAIL, PUSH
from etl.db.connection import Warehouse
from etl.declare.channel import Medium
from etl.notify import suppress as step
from etl.notify.store import suppressions
from etl.notify.store.suppressions import Narrowed
from etl.notify.suppress import Read, Unsuppressable, suppress, suppress_lines

Rows = Callable[..., list[tuple[object, ...]]]
KEPT = "select address, reason from notify.suppressions order by address"


def read(
    warehouse: Warehouse, content: bytes, *, reason: str | None = "bounced", medium: Medium = EMAIL
) -> tuple[Read, list[tuple[int, str]]]:
    """Suppress the lines of a file, and return what was done and which lines are wrong."""
    wrong: list[tuple[int, str]] = []
    done = suppress_lines(
        medium, BytesIO(content), reason=reason, warehouse=warehouse, wrong=lambda *line: wrong.append(line)
    )
    return done, wrong


def test_a_file_says_who_and_why_and_its_header_is_nobody(warehouse: Warehouse, rows: Rows) -> None:
    content = '\ufeffAddress,Reason\r\nJoe@Home.example, complained\r\n"ann@home.example",\r\n\r\nMÜ@home.example'
    assert read(warehouse, content.encode()) == (Read(added=3), [])
    assert rows(KEPT) == [
        ("ann@home.example", "bounced"),
        ("joe@home.example", "complained"),
        ("mü@home.example", "bounced"),
    ]


def test_a_bad_line_is_told_by_its_number_and_spoils_no_other(warehouse: Warehouse, rows: Rows) -> None:
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
    done, wrong = read(warehouse, b"\n".join(lines))
    assert done == Read(added=2, wrong=7)
    assert [number for number, _ in wrong] == [2, 3, 4, 5, 6, 7, 8]
    assert not [found for _, found in wrong if "home.example" in found]
    assert rows(KEPT) == [("a@home.example", "bounced"), ("f@home.example", "bounced")]


def test_a_line_without_a_reason_needs_one_for_all(warehouse: Warehouse) -> None:
    done, wrong = read(warehouse, b"a@home.example\nb@home.example,asked\n", reason=None)
    assert done == Read(added=1, wrong=1)
    assert wrong == [(1, "no reason of 1 to 100 characters that can be seen")]


def test_what_is_known_keeps_its_reason_and_since_when(warehouse: Warehouse, rows: Rows) -> None:
    assert suppress(EMAIL, "Joe@home.example", "complained", warehouse=warehouse)
    since = rows("select since from notify.suppressions")
    assert not suppress(EMAIL, "joe@HOME.example", "bounced", warehouse=warehouse)
    assert read(warehouse, b"joe@home.example\nann@home.example\nANN@home.example\n")[0] == Read(added=1, known=2)
    assert rows("select reason, since from notify.suppressions where address like 'joe%%'") == [
        ("complained", since[0][0])
    ]


def test_a_long_file_is_read_a_page_at_a_time_and_what_was_read_is_kept(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    monkeypatch.setattr(step, "ADDRESSES", 10)
    content = b"".join(b"user%d@home.example\n" % number for number in range(35))
    held = set()

    class Lines(BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            held.add(rows("select count(*) from notify.suppressions")[0][0])
            return super().readline(size)

    def ignore(_number: int, _found: str) -> None:
        raise AssertionError

    assert suppress_lines(EMAIL, Lines(content), reason="x", warehouse=warehouse, wrong=ignore) == Read(added=35)
    assert held >= {0, 10, 20, 30}


@pytest.mark.parametrize(
    ("medium", "address"),
    [(EMAIL, "joe"), (EMAIL, ""), (DESKTOP, "token"), (PUSH, ""), (PUSH, "a\0"), (PUSH, "\udcff")],
)
def test_what_is_no_address_of_its_channel_is_refused(warehouse: Warehouse, medium: Medium, address: str) -> None:
    with pytest.raises(Unsuppressable, match=f"no address of {medium.name}, so nothing was suppressed"):
        suppress(medium, address, "asked", warehouse=warehouse)


def test_only_the_case_of_a_mail_address_does_not_matter(warehouse: Warehouse) -> None:
    suppress(PUSH, "Token", "asked", warehouse=warehouse)
    suppress(EMAIL, "Joe@home.example", "asked", warehouse=warehouse)
    assert not suppressions.remove(warehouse, PUSH, "token")
    assert not suppressions.remove(warehouse, PUSH, "Joe@home.example")
    assert suppressions.remove(warehouse, PUSH, "Token")
    assert suppressions.remove(warehouse, EMAIL, "JOE@home.example")
    assert suppressions.tally(warehouse, Narrowed()) == []
