"""Replies of servers, as they are kept."""

from __future__ import annotations

import time

import pytest

from etl.notify.channels.channel import redact_error


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        ("550 <joe@home.example>: no such user", "550 …: no such user"),
        ("no joe@home.example, no mail", "no … no mail"),
        ("a\r\n b\0 c", "a b c"),
        ("@", "…"),
        ("spaces " + " " * 3000 + "joe@home.example", "spaces"),
        ("word " + "x" * 1994 + "joe@home.example", "word"),
    ],
)
def test_a_reply_is_one_short_line_without_addresses(reply: str, kept: str) -> None:
    assert redact_error(reply) == kept


@pytest.mark.parametrize("word", ["a", "a@", "<", "<a", " ", "\0"])
def test_a_reply_of_many_times_the_length_takes_no_longer(word: str) -> None:
    text = word * 20_000

    def measure(reply: str) -> float:
        started = time.process_time()
        for _ in range(20):
            assert len(redact_error(reply)) <= 200
        return time.process_time() - started

    measure(text)
    assert min(measure(text * 20) for _ in range(3)) < 3 * min(measure(text) for _ in range(3)) + 0.01
