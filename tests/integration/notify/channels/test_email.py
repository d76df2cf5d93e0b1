"""The e-mail channel: the result of each mail, whatever the server does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from dev.servers.ports import LOOPBACK
from etl.clients.mail_server import MailServer, Security
from etl.errors import ChannelRefused
from etl.mail_address import MailAddress
from etl.notify.channels.channel import Message, Scope, SendOutcome, SendResult
from etl.notify.channels.dispatcher import NOT_TRIED
from etl.notify.channels.email import EmailConfig, EmailSender
from tests.integration.clients.scripted_smtp import HANG_UP, SILENCE, ScriptedSmtp

BRIEF, LONG = timedelta(milliseconds=300), timedelta(seconds=30)
PARTS = {"subject": "Your report", "text": "Hello\n.\n..dots\n", "html": "<p>Hello</p>\n"}


def mail(delivery_id: int, address: str = "joe@home.example", **changes: Any) -> Message:
    return Message(delivery_id, address, **{"parts": PARTS} | changes)


def build_config(
    port: int,
    *,
    connections: int = 1,
    mails_per_connection: int = 1000,
    timeout: timedelta = LONG,
    patience: timedelta = LONG,
) -> EmailConfig:
    sender = MailAddress("sluice@bank.example", "Sluice")
    server = MailServer(LOOPBACK, port, Security.PLAIN, sender, timeout=timeout)
    return EmailConfig(server, connections, mails_per_connection, patience)


def send_pages(
    script: dict[str, Any], *pages: Sequence[Message], **changes: Any
) -> tuple[list[SendResult], ScriptedSmtp]:
    async def send() -> tuple[list[SendResult], ScriptedSmtp]:
        async with ScriptedSmtp(script) as server, EmailSender(build_config(server.port, **changes)) as channel:
            return [result for page in pages for result in await channel.send(page)], server

    return asyncio.run(send())


def outcomes(results: Sequence[SendResult]) -> list[tuple[SendOutcome, str]]:
    return [(result.outcome, result.error_class) for result in results]


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(("answer", "error_class"), [(HANG_UP, "ConnectionLost"), (SILENCE, "Timeout")])
def test_mail_is_deferred_if_the_server_is_lost_before_it_requests_the_content(
    stage: str, answer: str, error_class: str
) -> None:
    results, server = send_pages({stage: answer}, [mail(1)], timeout=BRIEF if answer == SILENCE else LONG)
    assert outcomes(results) == [(SendOutcome.DEFERRED, error_class)]
    assert server.mails == []


@pytest.mark.parametrize("stage", ["greeting", "EHLO"])
def test_mails_are_deferred_if_the_server_hangs_up_before_any_mail(stage: str) -> None:
    results, server = send_pages({stage: HANG_UP}, [mail(1), mail(2)])
    assert [result.outcome for result in results] == [SendOutcome.DEFERRED] * 2
    assert server.mails == []


@pytest.mark.parametrize("stage", ["body", "."])
def test_mail_is_unknown_if_the_server_hangs_up_after_it_requested_the_content(stage: str) -> None:
    results, _ = send_pages({stage: HANG_UP}, [mail(1)])
    assert outcomes(results) == [(SendOutcome.UNKNOWN, "ConnectionLost")]


HUGE = {"subject": "", "text": "x" * (32 << 20)}


def test_mail_is_deferred_if_the_server_hangs_up_before_the_end_is_sent() -> None:
    results, _ = send_pages({"body": HANG_UP}, [mail(1, parts=HUGE)])
    assert outcomes(results) == [(SendOutcome.DEFERRED, "ConnectionLost")]


def test_a_mail_is_deferred_if_the_server_stops_reading_before_its_end() -> None:
    results, _ = send_pages({"body": SILENCE}, [mail(1, parts=HUGE)], patience=BRIEF)
    assert outcomes(results) == [(SendOutcome.DEFERRED, "Timeout")]


def test_a_large_mail_arrives() -> None:
    results, server = send_pages(
        {}, [mail(1, parts={"subject": "", "text": ".x\n" * 100_000})], patience=timedelta(minutes=1)
    )
    assert outcomes(results) == [(SendOutcome.SENT, "")]
    assert server.mails[0].count(b"\r\n..x") == 100_000


def test_unanswered_mail_is_unknown() -> None:
    results, server = send_pages({".": SILENCE}, [mail(1)], patience=BRIEF)
    assert outcomes(results) == [(SendOutcome.UNKNOWN, "Timeout")]
    assert len(server.mails) == 1


def test_mail_with_an_invalid_reply_is_unknown() -> None:
    results, _ = send_pages({".": ["nonsense", "199 hm"]}, [mail(1), mail(2), mail(3)])
    assert [result.outcome for result in results] == [SendOutcome.UNKNOWN, SendOutcome.UNKNOWN, SendOutcome.SENT]


def test_unknown_mail_is_not_sent_again() -> None:
    results, server = send_pages({".": ["250 taken", HANG_UP]}, [mail(1)], [mail(2)])
    assert [result.outcome for result in results] == [SendOutcome.SENT, SendOutcome.UNKNOWN]
    assert len(server.mails) == 2


@pytest.mark.parametrize(
    ("stage", "code", "outcome"),
    [
        *(
            ("RCPT", "451", SendOutcome.DEFERRED),
            ("DATA", "451", SendOutcome.DEFERRED),
            (".", "451", SendOutcome.DEFERRED),
        ),
        *(("MAIL", "554", SendOutcome.FAILED), ("RCPT", "554", SendOutcome.FAILED)),
        *(("DATA", "554", SendOutcome.FAILED), (".", "554", SendOutcome.FAILED)),
    ],
)
def test_refusal_defers_or_fails_its_mail_and_the_next_mail_is_sent(
    stage: str, code: str, outcome: SendOutcome
) -> None:
    results, server = send_pages({stage: [f"{code} no"]}, [mail(1), mail(2)])
    assert outcomes(results) == [(outcome, code), (SendOutcome.SENT, "")]
    assert server.connections == 1
    assert len(server.mails) == (2 if stage == "." else 1)


def test_one_bad_recipient_does_not_affect_others() -> None:
    messages = [mail(1), mail(2, "no address"), mail(3, parts=PARTS | {"subject": "a\r\nBcc: b@c.example"}), mail(4)]
    results, server = send_pages({"RCPT": ["550 5.1.1 <joe@home.example>: no such user"]}, messages)
    assert [result.delivery_id for result in results] == [1, 2, 3, 4]
    assert outcomes(results) == [
        (SendOutcome.FAILED, "550"),
        (SendOutcome.FAILED, "AddressMalformed"),
        (SendOutcome.FAILED, "SubjectMalformed"),
        (SendOutcome.SENT, ""),
    ]
    assert len(server.mails) == 1


def test_error_holds_the_reply_without_the_address() -> None:
    (result,), _ = send_pages({"RCPT": "550-5.1.1 <joe@home.example>:\r\n550 5.1.1 no joe@home.example"}, [mail(1)])
    assert result.error == "5.1.1 …: 5.1.1 no …"


@pytest.mark.parametrize(
    ("answer", "invalid_ids"), [("550 5.1.1 none", {1}), ("550 5.7.1 spam", set()), ("450 5.1.1 later", set())]
)
def test_address_is_invalid_only_if_the_server_knows_no_such_mailbox(answer: str, invalid_ids: set[int]) -> None:
    results, _ = send_pages({"RCPT": answer}, [mail(1)])
    assert {result.delivery_id for result in results if result.is_address_invalid} == invalid_ids


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "."])
def test_a_mail_that_the_server_defers_for_a_reason_of_its_own_is_sent_again_at_once(stage: str) -> None:
    results, server = send_pages({stage: ["454 4.3.0 busy"]}, [mail(1), mail(2)])
    assert [result.outcome for result in results] == [SendOutcome.SENT] * 2
    assert len(server.mails) == (3 if stage == "." else 2)


@pytest.mark.parametrize(
    ("script", "scope"),
    [
        ({"MAIL": "550 who"}, Scope.SERVER),
        ({"RCPT": "450 4.2.0 greylisted"}, Scope.RECIPIENT),
        ({"RCPT": "550 5.7.1 blocked"}, Scope.DESTINATION),
        ({".": "554 spam"}, Scope.SERVER),
        ({"RCPT": SILENCE}, Scope.DESTINATION),
        ({"MAIL": SILENCE}, Scope.SERVER),
    ],
    ids=repr,
)
def test_a_result_names_its_mail_domain_and_whom_a_refusal_concerns(script: dict[str, Any], scope: Scope) -> None:
    (result,), _ = send_pages(script, [mail(1, "joe@Straße.Example")], timeout=BRIEF)
    assert (result.destination, result.scope) == ("xn--strae-oqa.example", scope)


def test_hang_up_between_pages_loses_no_mail() -> None:
    async def send() -> tuple[list[SendResult], int]:
        server = ScriptedSmtp({"MAIL": ["250 ok", HANG_UP]})
        async with server, EmailSender(build_config(server.port)) as channel:
            return [*await channel.send([mail(1)]), *await channel.send([mail(2)])], server.connections

    results, connections = asyncio.run(send())
    assert [result.outcome for result in results] == [SendOutcome.SENT] * 2
    assert connections == 2


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "."])
def test_reply_421_opens_a_new_connection(stage: str) -> None:
    accepted = {"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 taken"}[stage]
    results, server = send_pages({stage: [accepted, "421 too many"]}, [mail(1), mail(2)])
    assert [result.outcome for result in results] == [SendOutcome.SENT] * 2
    assert server.connections == 2


def test_a_connection_that_cannot_be_reset_is_not_used_again() -> None:
    results, server = send_pages({"RCPT": ["550 no"], "RSET": ["500 what?"]}, [mail(1), mail(2)])
    assert [result.outcome for result in results] == [SendOutcome.FAILED, SendOutcome.SENT]
    assert server.connections == 2


def test_connection_is_replaced_after_a_limit_of_mails() -> None:
    pages = [[mail(page * 10 + place) for place in range(5)] for page in range(2)]
    results, server = send_pages({}, *pages, mails_per_connection=4)
    assert {result.outcome for result in results} == {SendOutcome.SENT}
    assert server.connections == 3


def test_mails_are_sent_over_several_connections_and_results_keep_their_order() -> None:
    results, server = send_pages({}, [mail(place) for place in range(100)], connections=4)
    assert [result.delivery_id for result in results] == list(range(100))
    assert server.connections == 4
    assert len(server.mails) == 100


def test_few_mails_open_few_connections() -> None:
    _, server = send_pages({}, *([mail(place)] for place in range(5)), connections=4)
    assert server.connections == 1


def test_lines_that_begin_with_a_dot_arrive() -> None:
    _, server = send_pages({}, [mail(1)])
    assert b"\r\n\r\nHello\r\n..\r\n...dots\r\n" in server.mails[0].replace(b"=2E", b"..")


def test_non_ascii_address_needs_a_server_with_smtputf8() -> None:
    messages = [mail(1, "jöe@home.example"), mail(2)]
    results, server = send_pages({}, messages)
    assert [result.outcome for result in results] == [SendOutcome.SENT] * 2
    assert "MAIL FROM:<sluice@bank.example> SMTPUTF8" in server.commands
    assert "To: <jöe@home.example>\r\n".encode() in server.mails[0]
    results, _ = send_pages({"EHLO": "250 here"}, messages)
    assert outcomes(results) == [(SendOutcome.FAILED, "SMTPUTF8"), (SendOutcome.SENT, "")]


def test_unavailable_server_defers_all_mails_without_a_connection_for_each() -> None:
    results, server = send_pages({"greeting": "421 busy"}, [mail(place) for place in range(50)], connections=2)
    assert {(result.outcome, result.error_class) for result in results} == {
        (SendOutcome.DEFERRED, "421"),
        (SendOutcome.DEFERRED, NOT_TRIED),
    }
    assert {result.error for result in results} == {"busy", "not tried since: 421 busy"}
    assert {(result.scope, result.destination) for result in results} == {(Scope.SERVER, "home.example")}
    assert server.connections <= 3


def test_permanent_refusal_at_the_greeting_is_an_error() -> None:
    with pytest.raises(ChannelRefused, match="go away"):
        send_pages({"greeting": "554 go away"}, [mail(1)])


def test_cancelled_send_does_not_leave_a_half_sent_connection() -> None:
    async def send() -> tuple[list[SendResult], int]:
        server = ScriptedSmtp({".": [SILENCE]})
        async with server, EmailSender(build_config(server.port)) as channel:
            task = asyncio.create_task(channel.send([mail(1)]))
            await server.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await channel.send([mail(2)]), server.connections

    results, connections = asyncio.run(send())
    assert outcomes(results) == [(SendOutcome.SENT, "")]
    assert connections == 2
