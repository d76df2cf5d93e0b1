"""The channels through servers that have a bad night: nothing is lost, failed or sent twice, and nobody waits long."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from dev.servers.ports import LOOPBACK
from etl.clients.mail_server import MailServer, Security
from etl.mail_address import MailAddress
from etl.notify.channels.channel import Message, Scope, SendOutcome, SendResult
from etl.notify.channels.dispatcher import NOT_TRIED
from etl.notify.channels.email import EmailConfig, EmailSender
from etl.notify.channels.webpush import WebPushConfig, WebPushSender
from tests.integration.notify.channels.faulty_smtp import FaultySmtp, SmtpFaults
from tests.integration.notify.channels.push_faults import PushFaults
from tests.integration.notify.channels.push_service import VAPID_KEY, PushService

MAIL = {"subject": "Your report", "text": "Hello\n", "html": "<p>Hello</p>\n"}
PUSH = {"title": "Low balance", "body": "12 € left"}


def mails(count: int, *domains: str) -> list[Message]:
    domains = domains or ("home.example", "work.example")
    return [Message(place, f"u{place}@{domains[place % len(domains)]}", MAIL) for place in range(count)]


def send_mails(
    server: FaultySmtp, messages: Sequence[Message], *, connections: int = 8, pages: int = 1, timeout: float = 10.0
) -> list[SendResult]:
    async def send() -> list[SendResult]:
        async with server:
            mail_server = MailServer(
                LOOPBACK,
                server.port,
                Security.PLAIN,
                MailAddress("sluice@bank.example"),
                timeout=timedelta(seconds=timeout),
            )
            async with EmailSender(EmailConfig(mail_server, connections)) as channel:
                size = -(-len(messages) // pages)
                starts = range(0, len(messages), size)
                return [result for start in starts for result in await channel.send(messages[start : start + size])]

    return asyncio.run(send())


def count(results: Sequence[SendResult]) -> Counter[tuple[str, str]]:
    return Counter((result.outcome.value, result.error_class) for result in results)


def require_once(server: FaultySmtp, messages: Sequence[Message], results: Sequence[SendResult]) -> None:
    """Require that a mail arrived once if it was sent, never if it was deferred, and at most once if in doubt."""
    for message, result in zip(messages, results, strict=True):
        arrived = server.accepted[message.address]
        assert arrived in {SendOutcome.SENT: {1}, SendOutcome.UNKNOWN: {0, 1}}.get(result.outcome, {0}), result


@pytest.mark.parametrize("cap", [1, 3])
def test_a_cap_on_connections_is_learnt_and_costs_no_mail(cap: int) -> None:
    server, messages = FaultySmtp(SmtpFaults(max_connections=cap)), mails(400)
    results = send_mails(server, messages, pages=4)
    assert count(results) == {("sent", ""): 400}
    assert server.refusals["421"] <= 8
    assert server.max_open <= cap
    require_once(server, messages, results)


class SlowToRefuse(FaultySmtp):
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2 if self._open else 0)
        await super()._serve(reader, writer)


def test_a_mail_whose_connection_is_refused_is_sent_over_one_that_is_open() -> None:
    server = SlowToRefuse(SmtpFaults(max_connections=1))
    results = send_mails(server, mails(2), connections=2)
    assert count(results) == {("sent", ""): 2}
    assert server.refusals["421"] == 1


def test_greylisting_defers_only_its_recipients_and_slows_nobody() -> None:
    server, messages = FaultySmtp(SmtpFaults(seed=1, greylisted=0.2, greylisted_for=timedelta(hours=1))), mails(300)
    results = send_mails(server, messages)
    found = count(results)
    assert set(found) == {("sent", ""), ("deferred", "450")}
    assert 30 < found["deferred", "450"] == server.refusals["450"] < 90
    assert {result.scope for result in results} == {Scope.RECIPIENT}
    require_once(server, messages, results)


def test_a_token_bucket_fails_no_mail() -> None:
    server, messages = FaultySmtp(SmtpFaults(mails_per_second=200, burst=20)), mails(250)
    results = send_mails(server, messages)
    assert {result.outcome for result in results} <= {SendOutcome.SENT, SendOutcome.DEFERRED}
    assert count(results)["sent", ""] > 200
    assert server.refusals["454"] < 60
    require_once(server, messages, results)


def test_connections_that_are_closed_and_reset_leave_only_explicit_doubts() -> None:
    server, messages = FaultySmtp(SmtpFaults(seed=2, closed=0.05, reset=0.03)), mails(300)
    results = send_mails(server, messages)
    unknown = {messages[result.delivery_id].address for result in results if result.outcome is SendOutcome.UNKNOWN}
    assert unknown == server.in_doubt
    assert len(unknown) > 2
    assert server.refusals["421"] > 5
    assert {result.outcome for result in results} == {SendOutcome.SENT, SendOutcome.UNKNOWN}
    require_once(server, messages, results)


def test_a_domain_that_is_not_answered_for_delays_the_others_once() -> None:
    messages = mails(200, *["home.example"] * 9, "tar.example")
    server = FaultySmtp(SmtpFaults(hanging_domain="tar.example"))
    started = time.monotonic()
    results = send_mails(server, messages, pages=4, timeout=1.5)
    assert time.monotonic() - started < 8
    found = count(results)
    assert (found["sent", ""], sum(found.values())) == (180, 200)
    deferred = [result for result in results if result.outcome is SendOutcome.DEFERRED]
    assert {(result.scope, result.destination) for result in deferred} == {(Scope.DESTINATION, "tar.example")}
    assert found["deferred", NOT_TRIED] > found["deferred", "Timeout"]


def test_replies_byte_by_byte_delay_only_their_own_mails() -> None:
    server, messages = FaultySmtp(SmtpFaults(seed=4, dripping=0.1)), mails(60)
    results = send_mails(server, messages)
    assert count(results) == {("sent", ""): 60}


def test_a_server_that_refuses_everybody_gets_few_connections_and_recovers() -> None:
    clock = time.monotonic
    hours = timedelta(0)

    async def send() -> tuple[list[SendResult], int, list[SendResult]]:
        nonlocal hours
        async with FaultySmtp(SmtpFaults(refuses_until=timedelta(hours=1))) as server:
            mail_server = MailServer(LOOPBACK, server.port, Security.PLAIN, MailAddress("sluice@bank.example"))
            async with EmailSender(
                EmailConfig(mail_server, 4), clock=lambda: clock() + hours.total_seconds()
            ) as channel:
                refused = [*await channel.send(mails(50)), *await channel.send(mails(50))]
                connections, server.faults, hours = server.connections, SmtpFaults(), timedelta(hours=1)
                return refused, connections, await channel.send(mails(50))

    refused, connections, recovered = asyncio.run(send())
    assert {(result.outcome, result.scope) for result in refused} == {(SendOutcome.DEFERRED, Scope.SERVER)}
    assert min(result.retry_after or timedelta() for result in refused[50:]) > timedelta(seconds=20)
    assert connections <= 6
    assert count(recovered) == {("sent", ""): 50}


def send_pushes(services: dict[PushService, int], *, pages: int, **changes: Any) -> tuple[list[SendResult], float]:
    """Return the results of so many messages to each service, and the seconds that they took."""

    async def send() -> tuple[list[SendResult], float]:
        config = WebPushConfig(VAPID_KEY, "mailto:push@bank.example", concurrency=8, allow_any_endpoint=True)
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(service.__aenter__())
        addresses = [
            service.subscription(f"b{place}") for service, number in services.items() for place in range(number)
        ]
        page_of = [
            [Message(place, address, PUSH) for place, address in enumerate(addresses) if place % pages == page]
            for page in range(pages)
        ]
        async with WebPushSender(replace(config, **changes)) as channel:
            started = time.monotonic()
            results = [result for messages in page_of for result in await channel.send(messages)]
            elapsed = time.monotonic() - started
        for service in services:
            await service.__aexit__()
        return sorted(results, key=lambda result: result.delivery_id), elapsed

    return asyncio.run(send())


class Unhashed(PushService):
    __hash__ = object.__hash__


def test_a_silent_service_delays_its_own_messages_only() -> None:
    silent = Unhashed(host="127.0.0.2", faults=PushFaults(status=0, tries=None))
    results, elapsed = send_pushes({Unhashed(): 80, silent: 40}, pages=4, first_timeout=timedelta(seconds=0.5))
    assert [result.outcome for result in results[:80]] == [SendOutcome.SENT] * 80
    assert count(results[80:]) == {("unknown", "Timeout"): 1, ("deferred", NOT_TRIED): 39}
    assert silent.attempts == 1
    assert elapsed < 3


def test_a_service_at_429_defers_its_subscribers_and_nobody_else() -> None:
    busy = Unhashed(host="127.0.0.2", faults=PushFaults(status=429, tries=None, retry_after="120"))
    results, _ = send_pushes({Unhashed(): 40, busy: 40}, pages=2)
    assert [result.outcome for result in results[:40]] == [SendOutcome.SENT] * 40
    assert {(result.outcome, result.destination) for result in results[40:]} == {(SendOutcome.DEFERRED, "127.0.0.2")}
    assert min(result.retry_after or timedelta() for result in results[40:]) > timedelta(seconds=100)
    assert busy.attempts == 1


@pytest.mark.parametrize("letter", ["a", "a@", "<"])
def test_only_the_start_of_a_long_answer_is_read(letter: str) -> None:
    answers: list[web.Response | None] = [web.Response(status=400, text=letter * (8 << 20)) for _ in range(3)]
    service = Unhashed(answers)
    results, _ = send_pushes({service: 3}, pages=3)
    assert count(results) == {("failed", "400"): 3}
    assert max(len(result.error) for result in results) <= 200


@pytest.mark.parametrize(("block", "interval"), [(1, 0.02), (1 << 16, 0.0)])
def test_an_answer_without_end_is_neither_waited_for_nor_read(block: int, interval: float) -> None:
    written = 0

    async def answer_forever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 410 Gone\r\nContent-Length: 100000000000\r\n\r\n")
        try:
            while not writer.transport.is_closing():
                writer.write(b"x" * block)
                written += block
                await writer.drain()
                await asyncio.sleep(interval)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    async def send() -> tuple[list[SendResult], float]:
        config = WebPushConfig(VAPID_KEY, "mailto:push@bank.example", allow_any_endpoint=True)
        listener = await asyncio.start_server(answer_forever, LOOPBACK, 0)
        async with listener, PushService() as service, WebPushSender(config) as channel:
            endpoint = f"http://{LOOPBACK}:{listener.sockets[0].getsockname()[1]}/push/b1"
            address = json.dumps(json.loads(service.subscription()) | {"endpoint": endpoint})
            started = time.monotonic()
            return list(await channel.send([Message(1, address, PUSH)])), time.monotonic() - started

    results, elapsed = asyncio.run(send())
    assert count(results) == {("failed", "410"): 1}
    assert results[0].is_address_invalid
    assert elapsed < 1.5
    assert written < 16 << 20
