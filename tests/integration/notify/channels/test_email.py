"""Mails to many: what came of each, whatever the server does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from dev.servers.ports import LOOPBACK
from etl.clients.smtp import MailServer, Security
from etl.errors import ChannelRefused
from etl.notify.channels.address import parse_address
from etl.notify.channels.channel import Message, SendOutcome, SendResult
from etl.notify.channels.email import EmailConfig, EmailSender
from tests.integration.notify.channels.scripted_smtp import HANG_UP, SILENCE, ScriptedSmtp

BRIEF, LONG = timedelta(milliseconds=300), timedelta(seconds=30)
PARTS = {"subject": "Your report", "text": "Hello\n.\n..dots\n", "html": "<p>Hello</p>\n"}


def mail(delivery_id: int, address: str = "joe@home.example", **changes: Any) -> Message:
    return Message(delivery_id, address, **{"parts": PARTS} | changes)


def mailing(
    port: int,
    *,
    connections: int = 1,
    mails_per_connection: int = 1000,
    timeout: timedelta = LONG,
    patience: timedelta = LONG,
) -> EmailConfig:
    sender = "Sluice <sluice@bank.example>"
    server = MailServer(LOOPBACK, port, Security.PLAIN, sender, (), timeout=timeout)
    return EmailConfig(server, parse_address(sender), connections, mails_per_connection, patience)


def sent(script: dict[str, Any], *pages: Sequence[Message], **changes: Any) -> tuple[list[SendResult], ScriptedSmtp]:
    async def send() -> tuple[list[SendResult], ScriptedSmtp]:
        async with ScriptedSmtp(script) as server, EmailSender(mailing(server.port, **changes)) as channel:
            return [result for page in pages for result in await channel.send(page)], server

    return asyncio.run(send())


def outcomes(results: Sequence[SendResult]) -> list[tuple[SendOutcome, str]]:
    return [(result.outcome, result.error_class) for result in results]


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(("answer", "error_class"), [(HANG_UP, "ConnectionLost"), (SILENCE, "Timeout")])
def test_a_mail_is_deferred_if_the_server_goes_before_it_asks_for_it(stage: str, answer: str, error_class: str) -> None:
    results, server = sent({stage: answer}, [mail(1)], timeout=BRIEF if answer == SILENCE else LONG)
    assert outcomes(results) == [(SendOutcome.DEFERRED, error_class)]
    assert server.mails == []


@pytest.mark.parametrize("stage", ["greeting", "EHLO"])
def test_mails_are_deferred_if_the_server_goes_before_any_mail(stage: str) -> None:
    results, server = sent({stage: HANG_UP}, [mail(1), mail(2)])
    assert [result.outcome for result in results] == [SendOutcome.DEFERRED] * 2
    assert server.mails == []


@pytest.mark.parametrize("stage", ["body", "."])
def test_nobody_knows_about_a_mail_if_the_server_goes_after_it_asked_for_it(stage: str) -> None:
    results, _ = sent({stage: HANG_UP}, [mail(1)])
    assert outcomes(results) == [(SendOutcome.UNKNOWN, "ConnectionLost")]


HUGE = {"subject": "", "text": "x" * (32 << 20)}


def test_a_mail_is_deferred_if_the_server_goes_before_all_but_its_end_has_left() -> None:
    results, _ = sent({"body": HANG_UP}, [mail(1, parts=HUGE)])
    assert outcomes(results) == [(SendOutcome.DEFERRED, "ConnectionLost")]


def test_a_mail_is_deferred_if_the_server_stops_reading_before_its_end() -> None:
    results, _ = sent({"body": SILENCE}, [mail(1, parts=HUGE)], patience=BRIEF)
    assert outcomes(results) == [(SendOutcome.DEFERRED, "Timeout")]


def test_a_large_mail_arrives() -> None:
    results, server = sent(
        {}, [mail(1, parts={"subject": "", "text": ".x\n" * 100_000})], patience=timedelta(minutes=1)
    )
    assert outcomes(results) == [(SendOutcome.SENT, "")]
    assert server.mails[0].count(b"\r\n..x") == 100_000


def test_nobody_knows_about_a_mail_that_is_never_answered() -> None:
    results, server = sent({".": SILENCE}, [mail(1)], patience=BRIEF)
    assert outcomes(results) == [(SendOutcome.UNKNOWN, "Timeout")]
    assert len(server.mails) == 1


def test_nobody_knows_about_a_mail_whose_answer_is_no_reply() -> None:
    results, _ = sent({".": ["nonsense", "199 hm"]}, [mail(1), mail(2), mail(3)])
    assert [result.outcome for result in results] == [SendOutcome.UNKNOWN, SendOutcome.UNKNOWN, SendOutcome.SENT]


def test_a_mail_that_nobody_knows_about_is_not_sent_again() -> None:
    results, server = sent({".": ["250 taken", HANG_UP]}, [mail(1)], [mail(2)])
    assert [result.outcome for result in results] == [SendOutcome.SENT, SendOutcome.UNKNOWN]
    assert len(server.mails) == 2


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize(("code", "outcome"), [("451", SendOutcome.DEFERRED), ("554", SendOutcome.FAILED)])
def test_a_refusal_is_for_now_or_for_good_and_the_next_mail_goes_on(
    stage: str, code: str, outcome: SendOutcome
) -> None:
    results, server = sent({stage: [f"{code} no"]}, [mail(1), mail(2)])
    assert outcomes(results) == [(outcome, code), (SendOutcome.SENT, "")]
    assert server.connections == 1
    assert len(server.mails) == (2 if stage == "." else 1)


def test_one_recipient_sinks_no_others() -> None:
    messages = [mail(1), mail(2, "no address"), mail(3, parts=PARTS | {"subject": "a\r\nBcc: b@c.example"}), mail(4)]
    results, server = sent({"RCPT": ["550 5.1.1 <joe@home.example>: no such user"]}, messages)
    assert [result.delivery_id for result in results] == [1, 2, 3, 4]
    assert outcomes(results) == [
        (SendOutcome.FAILED, "550"),
        (SendOutcome.FAILED, "AddressMalformed"),
        (SendOutcome.FAILED, "SubjectMalformed"),
        (SendOutcome.SENT, ""),
    ]
    assert len(server.mails) == 1


def test_what_a_server_says_is_kept_without_the_address() -> None:
    (result,), _ = sent({"RCPT": "550-5.1.1 <joe@home.example>:\r\n550 5.1.1 no joe@home.example"}, [mail(1)])
    assert result.error == "5.1.1 …: 5.1.1 no …"


@pytest.mark.parametrize(
    ("answer", "ended"), [("550 5.1.1 none", {1}), ("550 5.7.1 spam", set()), ("450 5.1.1 later", set())]
)
def test_an_address_ends_where_the_server_knows_no_such_mailbox(answer: str, ended: set[int]) -> None:
    results, _ = sent({"RCPT": answer}, [mail(1)])
    assert {result.delivery_id for result in results if result.is_address_invalid} == ended


def test_a_server_that_hung_up_between_pages_costs_no_mail() -> None:
    async def send() -> tuple[list[SendResult], int]:
        server = ScriptedSmtp({"MAIL": ["250 ok", HANG_UP]})
        async with server, EmailSender(mailing(server.port)) as channel:
            return [*await channel.send([mail(1)]), *await channel.send([mail(2)])], server.connections

    results, connections = asyncio.run(send())
    assert [result.outcome for result in results] == [SendOutcome.SENT] * 2
    assert connections == 2


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "."])
def test_a_server_that_wants_a_new_connection_gets_it(stage: str) -> None:
    polite = {"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 taken"}[stage]
    results, server = sent({stage: [polite, "421 too many"]}, [mail(1), mail(2)])
    assert [result.outcome for result in results] == [SendOutcome.SENT] * 2
    assert server.connections == 2


def test_a_connection_that_cannot_be_reset_is_not_used_again() -> None:
    results, server = sent({"RCPT": ["550 no"], "RSET": ["500 what?"]}, [mail(1), mail(2)])
    assert [result.outcome for result in results] == [SendOutcome.FAILED, SendOutcome.SENT]
    assert server.connections == 2


def test_connections_are_kept_and_opened_anew_after_a_bound_of_mails() -> None:
    pages = [[mail(page * 10 + place) for place in range(5)] for page in range(2)]
    results, server = sent({}, *pages, mails_per_connection=4)
    assert {result.outcome for result in results} == {SendOutcome.SENT}
    assert server.connections == 3


def test_mails_go_over_several_connections_and_results_keep_their_order() -> None:
    results, server = sent({}, [mail(place) for place in range(100)], connections=4)
    assert [result.delivery_id for result in results] == list(range(100))
    assert server.connections == 4
    assert len(server.mails) == 100


def test_few_mails_open_few_connections() -> None:
    _, server = sent({}, *([mail(place)] for place in range(5)), connections=4)
    assert server.connections == 1


def test_lines_that_begin_with_a_dot_arrive() -> None:
    _, server = sent({}, [mail(1)])
    assert b"\r\n\r\nHello\r\n..\r\n...dots\r\n" in server.mails[0].replace(b"=2E", b"..")


def test_an_address_that_is_not_ascii_needs_a_server_that_takes_it() -> None:
    messages = [mail(1, "jöe@home.example"), mail(2)]
    results, server = sent({}, messages)
    assert [result.outcome for result in results] == [SendOutcome.SENT] * 2
    assert "MAIL FROM:<sluice@bank.example> SMTPUTF8" in server.commands
    assert "To: <jöe@home.example>\r\n".encode() in server.mails[0]
    results, _ = sent({"EHLO": "250 here"}, messages)
    assert outcomes(results) == [(SendOutcome.FAILED, "SMTPUTF8"), (SendOutcome.SENT, "")]


def test_a_server_that_is_away_defers_all_and_is_not_asked_for_each() -> None:
    results, server = sent({"greeting": "421 busy"}, [mail(place) for place in range(50)], connections=2)
    assert {(result.outcome, result.error_class) for result in results} == {(SendOutcome.DEFERRED, "421")}
    assert server.connections <= 3


def test_a_server_that_lets_nobody_in_stops_the_start() -> None:
    with pytest.raises(ChannelRefused, match="go away"):
        sent({"greeting": "554 go away"}, [mail(1)])


def test_a_task_that_is_cancelled_leaves_no_half_sent_connection_behind() -> None:
    async def send() -> tuple[list[SendResult], int]:
        server = ScriptedSmtp({".": [SILENCE]})
        async with server, EmailSender(mailing(server.port)) as channel:
            task = asyncio.create_task(channel.send([mail(1)]))
            await server.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await channel.send([mail(2)]), server.connections

    results, connections = asyncio.run(send())
    assert outcomes(results) == [(SendOutcome.SENT, "")]
    assert connections == 2
