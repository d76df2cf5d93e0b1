"""Concurrent sending of messages."""

from __future__ import annotations

import asyncio

import pytest

from etl.notify.channels.channel import Message, SendOutcome, SendResult, send_concurrently

MESSAGES = [Message(place, "joe@home.example", {}) for place in range(20)]


def test_internal_error_leaves_one_message_unknown_and_the_others_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def send(message: Message) -> SendResult:
        await asyncio.sleep(0)
        if message.delivery_id == 7:
            raise LookupError(message.address)
        return SendResult(message.delivery_id, SendOutcome.SENT)

    results = asyncio.run(send_concurrently(MESSAGES, send, concurrency=3))
    assert [result.delivery_id for result in results] == list(range(20))
    assert [result for result in results if result.outcome is not SendOutcome.SENT] == [
        SendResult(7, SendOutcome.UNKNOWN, "LookupError", "an error in its channel")
    ]
    assert "joe" not in caplog.text


def test_nothing_to_send_is_no_error() -> None:
    async def send(message: Message) -> SendResult:
        raise AssertionError(message.delivery_id)

    assert asyncio.run(send_concurrently([], send, concurrency=3)) == []


def test_slow_message_does_not_delay_the_others() -> None:
    others_done = asyncio.Event()
    done: list[int] = []

    async def send(message: Message) -> SendResult:
        if message.delivery_id == 0:
            await others_done.wait()
        done.append(message.delivery_id)
        if len(done) == len(MESSAGES) - 1:
            others_done.set()
        return SendResult(message.delivery_id, SendOutcome.SENT)

    asyncio.run(send_concurrently(MESSAGES, send, concurrency=2))
    assert done[-1] == 0
