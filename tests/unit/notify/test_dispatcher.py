"""Concurrent sending: no message, destination or error delays the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from etl.notify.channels.adaptive import Signal
from etl.notify.channels.channel import Message, Scope, SendOutcome, SendResult, SendStatus
from etl.notify.channels.dispatcher import NOT_TRIED, Dispatcher
from tests.unit.notify import virtual_time

SENT = SendStatus(SendOutcome.SENT)
SLOW_DOWN = SendStatus(SendOutcome.DEFERRED, "454", "slow down", scope=Scope.SERVER, signal=Signal.THROTTLED)
SILENT = SendStatus(SendOutcome.UNKNOWN, "Timeout", "silent", scope=Scope.DESTINATION, signal=Signal.SILENT)
NO_CONNECTION = SendStatus(SendOutcome.DEFERRED, "421", "too many", scope=Scope.SERVER, signal=Signal.NOT_CONNECTED)

Send = Callable[[Message], Awaitable[SendStatus]]


def to(*domains: str) -> list[Message]:
    return [Message(place, f"joe@{domain}", {}) for place, domain in enumerate(domains)]


def find_domain(message: Message) -> str:
    return message.address.partition("@")[2]


async def send_all(dispatcher: Dispatcher, messages: Sequence[Message], send: Send) -> list[SendResult]:
    return await dispatcher.send(messages, send, find_destination=find_domain)


def outcomes(results: Sequence[SendResult]) -> Counter[tuple[str, str]]:
    return Counter((result.outcome.value, result.error_class) for result in results)


def test_internal_error_leaves_one_message_unknown_and_the_others_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def send(message: Message) -> SendStatus:
        await asyncio.sleep(0)
        if message.delivery_id == 7:
            raise LookupError(message.address)
        return SENT

    results = asyncio.run(send_all(Dispatcher(concurrency=3), to(*["home.example"] * 20), send))
    assert [result.delivery_id for result in results] == list(range(20))
    assert [result for result in results if result.outcome is not SendOutcome.SENT] == [
        SendResult(7, SendOutcome.UNKNOWN, "LookupError", "an error in its channel", destination="home.example")
    ]
    assert "joe" not in caplog.text


def test_nothing_to_send_is_no_error() -> None:
    async def send(message: Message) -> SendStatus:
        raise AssertionError(message.delivery_id)

    assert asyncio.run(send_all(Dispatcher(concurrency=3), [], send)) == []


def test_slow_message_does_not_delay_the_others() -> None:
    others_done = asyncio.Event()
    done: list[int] = []

    async def send(message: Message) -> SendStatus:
        if message.delivery_id == 0:
            await others_done.wait()
        done.append(message.delivery_id)
        if len(done) == 19:
            others_done.set()
        return SENT

    asyncio.run(send_all(Dispatcher(concurrency=2), to(*["home.example"] * 20), send))
    assert done[-1] == 0


def test_destinations_take_turns() -> None:
    order: list[str] = []

    async def send(message: Message) -> SendStatus:
        order.append(find_domain(message))
        return SENT

    asyncio.run(send_all(Dispatcher(concurrency=1), to("a", "a", "a", "b", "b", "c"), send))
    assert order == ["a", "b", "c", "a", "b", "a"]


def test_a_hanging_destination_leaves_a_quarter_of_the_places_to_the_others() -> None:
    async def main(loop: virtual_time.VirtualTimeLoop) -> None:
        ends: dict[str, float] = {}

        async def send(message: Message) -> SendStatus:
            await asyncio.sleep(100 if find_domain(message) == "slow" else 0.1)
            ends[find_domain(message)] = loop.time()
            return SENT

        await send_all(Dispatcher(concurrency=8, clock=loop.time), to(*["slow"] * 20, *["fast"] * 100), send)
        assert ends["fast"] < 7

    virtual_time.run(main)


def test_after_one_message_without_answer_the_others_to_its_destination_are_deferred_at_once() -> None:
    async def main(loop: virtual_time.VirtualTimeLoop) -> None:
        async def send(message: Message) -> SendStatus:
            if find_domain(message) == "silent":
                await asyncio.sleep(2)
                return SILENT
            await asyncio.sleep(0.02)
            return SENT

        dispatcher = Dispatcher(concurrency=8, are_destinations_servers=True, clock=loop.time)
        results = await send_all(dispatcher, to(*["silent"] * 40, *["a", "b"] * 80), send)
        assert outcomes(results) == {("unknown", "Timeout"): 1, ("deferred", NOT_TRIED): 39, ("sent", ""): 160}
        assert loop.time() < 2.1
        (untried,) = {(each.scope, each.destination, each.error) for each in results if each.error_class == NOT_TRIED}
        assert untried == (Scope.DESTINATION, "silent", "not tried since: Timeout silent")
        assert min(result.retry_after or timedelta() for result in results[1:40]) >= timedelta(seconds=30)
        before = loop.time()
        again = await send_all(dispatcher, to(*["silent"] * 5, "a"), send)
        assert outcomes(again) == {("deferred", NOT_TRIED): 5, ("sent", ""): 1}
        assert loop.time() - before < 0.1

    virtual_time.run(main)


@pytest.mark.parametrize(("burst", "sent", "rate"), [(1, 1600, 40), (10, 1990, 70), (100, 1990, 70)])
def test_a_token_bucket_is_learnt_and_fails_no_message(burst: int, sent: int, rate: float) -> None:
    async def main(loop: virtual_time.VirtualTimeLoop) -> None:
        tokens, refilled_at, refused = float(burst), 0.0, 0

        async def send(_: Message) -> SendStatus:
            nonlocal tokens, refilled_at, refused
            await asyncio.sleep(0.005)
            tokens = min(burst, tokens + (loop.time() - refilled_at) * 100)
            refilled_at = loop.time()
            if tokens < 1:
                refused += 1
                return SLOW_DOWN
            tokens -= 1
            return SENT

        dispatcher = Dispatcher(concurrency=8, max_attempts=3, clock=loop.time)
        found: Counter[tuple[str, str]] = Counter()
        for _ in range(8):
            found += outcomes(await send_all(dispatcher, to(*["home.example"] * 250), send))
        assert set(found) <= {("sent", ""), ("deferred", "454"), ("deferred", NOT_TRIED)}
        assert found["sent", ""] > sent
        assert found["sent", ""] / loop.time() > rate
        assert refused < 40

    virtual_time.run(main)


def test_what_cannot_be_sent_within_seconds_is_deferred_until_its_turn() -> None:
    async def main(loop: virtual_time.VirtualTimeLoop) -> None:
        async def send(_: Message) -> SendStatus:
            return SendStatus(
                SendOutcome.DEFERRED,
                "429",
                "quota",
                scope=Scope.SERVER,
                signal=Signal.THROTTLED,
                retry_after=timedelta(minutes=10),
            )

        results = await send_all(Dispatcher(concurrency=1, clock=loop.time), to(*["a"] * 20), send)
        assert outcomes(results) == {("deferred", "429"): 1, ("deferred", NOT_TRIED): 19}
        assert min(result.retry_after or timedelta() for result in results) == timedelta(minutes=10)
        assert loop.time() == 0

    virtual_time.run(main)


def test_a_refused_connection_costs_no_message_while_others_work() -> None:
    async def main(loop: virtual_time.VirtualTimeLoop) -> None:
        in_flight = 0

        async def send(_: Message) -> SendStatus:
            nonlocal in_flight
            if in_flight >= 3:
                return NO_CONNECTION
            in_flight += 1
            await asyncio.sleep(0.01)
            in_flight -= 1
            return SENT

        dispatcher = Dispatcher(concurrency=8, max_attempts=3, clock=loop.time)
        assert outcomes(await send_all(dispatcher, to(*["a", "b"] * 200), send)) == {("sent", ""): 400}
        assert dispatcher.server.concurrency == 3

    virtual_time.run(main)


def test_a_server_that_recovers_gets_messages_again() -> None:
    async def main(loop: virtual_time.VirtualTimeLoop) -> None:
        async def send(_: Message) -> SendStatus:
            return NO_CONNECTION if loop.time() < 40 else SENT

        dispatcher = Dispatcher(concurrency=8, max_attempts=3, clock=loop.time)
        found = []
        for _ in range(4):
            found.append(outcomes(await send_all(dispatcher, to(*["a"] * 50), send)))
            await asyncio.sleep(35)
        assert set(found[0]) == {("deferred", "421"), ("deferred", NOT_TRIED)}
        assert found[3] == {("sent", ""): 50}

    virtual_time.run(main)


def test_cancelled_sending_leaves_no_message_counted_as_in_flight() -> None:
    async def main(loop: virtual_time.VirtualTimeLoop) -> None:
        dispatcher = Dispatcher(concurrency=4, clock=loop.time)

        async def hang(_: Message) -> SendStatus:
            await asyncio.sleep(1000)
            return SENT

        task = asyncio.create_task(send_all(dispatcher, to(*["a", "b"] * 4), hang))
        await asyncio.sleep(1)
        assert dispatcher.server.in_flight == 4
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [dispatcher.server.in_flight, dispatcher.destination("a").in_flight] == [0, 0]

    virtual_time.run(main)
