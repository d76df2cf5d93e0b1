"""What a reply of a mail server means, and for whom."""

from __future__ import annotations

import pytest

from etl.clients.smtp_reply import SmtpOutcome, SmtpScope, SmtpStage, classify

CONNECT, MAIL, RCPT, DATA, CONTENT = SmtpStage
RECIPIENT, DESTINATION, SERVER = SmtpScope


@pytest.mark.parametrize(
    ("stage", "reply", "scope"),
    [
        (CONNECT, "421 4.7.0 too many connections", SERVER),
        (CONNECT, "454 4.7.0 authentication not available", SERVER),
        (MAIL, "451 4.3.0 try later", SERVER),
        (MAIL, "452 4.3.1 no room", SERVER),
        (RCPT, "421 4.7.0 closing", SERVER),
        (CONTENT, "421 4.3.2 shutting down", SERVER),
        (RCPT, "454 4.7.1 slow down", SERVER),
        (RCPT, "450 4.2.0 greylisted", RECIPIENT),
        (RCPT, "450 greylisted", RECIPIENT),
        (RCPT, "451 4.7.1 greylisting in action", RECIPIENT),
        (CONTENT, "451 greylisted", RECIPIENT),
        (RCPT, "450 4.1.1 unverified address", RECIPIENT),
        (RCPT, "450 4.1.8 sender's domain not found", SERVER),
        (RCPT, "452 4.2.2 mailbox full", RECIPIENT),
        (RCPT, "452 4.5.3 too many recipients", SERVER),
        (RCPT, "452 4.3.1 no room", SERVER),
        (RCPT, "452 no room", SERVER),
        (RCPT, "451 4.3.5 configuration error", SERVER),
        (RCPT, "450 4.7.28 unusual rate of mail", DESTINATION),
        (CONTENT, "451 4.7.650 rate limited", DESTINATION),
        (RCPT, "451 4.4.1 no route", DESTINATION),
    ],
)
def test_a_transient_refusal_defers_and_names_whom_it_concerns(stage: SmtpStage, reply: str, scope: SmtpScope) -> None:
    result = classify(stage, int(reply[:3]), reply[4:])
    assert (result.outcome, result.scope, result.is_mailbox_unknown) == (SmtpOutcome.DEFERRED, scope, False)


@pytest.mark.parametrize(
    ("stage", "reply", "scope", "is_mailbox_unknown"),
    [
        (RCPT, "550 5.1.1 no such user", RECIPIENT, True),
        (RCPT, "551 5.1.6 moved", RECIPIENT, True),
        (RCPT, "556 5.1.10 null MX", RECIPIENT, True),
        (RCPT, "550 5.1.10 null MX", RECIPIENT, True),
        (RCPT, "550 5.1.2 bad domain", RECIPIENT, False),
        (RCPT, "550 no such user", RECIPIENT, False),
        (RCPT, "552 5.2.2 mailbox full", RECIPIENT, False),
        (RCPT, "550 5.7.1 relaying denied", DESTINATION, False),
        (RCPT, "554 5.7.1 blocked", DESTINATION, False),
        (RCPT, "554 blocked", DESTINATION, False),
        (RCPT, "550 5.4.4 no route", DESTINATION, False),
        (MAIL, "550 5.1.1 who are you", SERVER, False),
        (MAIL, "553 5.7.1 not your address", SERVER, False),
        (DATA, "550 5.1.1 none", RECIPIENT, False),
        (CONTENT, "554 5.7.1 spam", SERVER, False),
        (CONTENT, "550 looks like spam", SERVER, False),
        (CONTENT, "552 5.3.4 too large", RECIPIENT, False),
        (CONTENT, "554 5.6.0 malformed", RECIPIENT, False),
        (CONTENT, "552 5.2.2 mailbox full", RECIPIENT, False),
        (CONNECT, "535 5.7.8 bad password", SERVER, False),
    ],
)
def test_a_permanent_refusal_fails_and_only_an_unknown_mailbox_is_the_fault_of_the_address(
    stage: SmtpStage, reply: str, scope: SmtpScope, *, is_mailbox_unknown: bool
) -> None:
    result = classify(stage, int(reply[:3]), reply[4:])
    found = (result.outcome, result.scope, result.is_mailbox_unknown)
    assert found == (SmtpOutcome.FAILED, scope, is_mailbox_unknown)


@pytest.mark.parametrize(
    ("reply", "is_throttled"),
    [
        ("421 closing", True),
        ("421 4.7.0 too many", True),
        ("421 4.3.2 shutting down", False),
        ("454 4.7.0 slow down", True),
        ("452 4.3.1 no room", False),
        ("452 4.5.3 too many", True),
        ("450 4.7.28 rate", True),
        ("450 4.2.0 greylisted", False),
        ("451 4.7.1 greylisted", False),
        ("452 4.2.2 mailbox full", False),
        ("451 4.3.0 lookup failed", False),
        ("550 5.7.1 spam", False),
    ],
)
def test_only_some_refusals_ask_to_slow_down(reply: str, *, is_throttled: bool) -> None:
    assert classify(RCPT, int(reply[:3]), reply[4:]).is_throttled is is_throttled


def test_a_code_that_means_neither_later_nor_never_has_the_outcome_of_its_stage() -> None:
    assert classify(CONTENT, 199, "hm", default=SmtpOutcome.UNKNOWN).outcome is SmtpOutcome.UNKNOWN
    assert classify(MAIL, 300, "hm").outcome is SmtpOutcome.DEFERRED


def test_only_the_start_of_a_long_reply_is_kept() -> None:
    assert len(classify(RCPT, 550, "x" * 80_000).error) == 2_000
