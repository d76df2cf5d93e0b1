import time
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.alerts.alert import (
    AlertKind,
    ChunkProgress,
    LoginsByOutcome,
    NoticeOutcome,
    RejectsByRule,
    TaskFailure,
    sanitize_message,
)
from etl.alerts.formatting import format_duration, format_time
from etl.alerts.mail import compose
from etl.errors import ProviderRefused
from tests.unit.alerts.samples import DUE_AT, RUN_ID, URL, make_alert, minutes

STOPPED = (
    LoginsByOutcome("stopped", "ITEM_LOGIN_REQUIRED", 11, remedy="Ask the bank."),
    LoginsByOutcome("stopped", "USER_PERMISSION_REVOKED", 1),
)


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        (AlertKind.FORECAST, "etl_transactions is going to be late by about 34 min"),
        (AlertKind.MISSED, "etl_transactions is late, expected at 02:34 UTC"),
        (AlertKind.RECOVERED, "etl_transactions is done, 34 min late"),
        (AlertKind.FAILED, "etl_transactions failed"),
        (AlertKind.LOGINS_STOPPED, "etl_transactions stopped 12 logins"),
        (AlertKind.HELD, "etl_transactions is held: nothing gets through"),
        (AlertKind.RESUMED, "etl_transactions sends again"),
    ],
)
def test_subject_names_dag_and_outcome(kind: AlertKind, subject: str) -> None:
    assert compose(make_alert(kind, logins=STOPPED)).subject == subject


def test_recovery_before_the_deadline_is_reported_as_in_time() -> None:
    mail = compose(make_alert(AlertKind.RECOVERED, finish_at=DUE_AT - minutes(12)))
    assert mail.subject == "etl_transactions is done, in time by 12 min"


@pytest.mark.parametrize("kind", list(AlertKind))
def test_text_and_html_hold_run_deadline_and_link(kind: AlertKind) -> None:
    mail = compose(make_alert(kind))
    for form in (mail.text, mail.html):
        assert RUN_ID in form.replace("&#43;", "+")
        assert "02:00 UTC" in form
        assert URL in form.replace("&#43;", "+")


def test_failure_mail_mentions_the_next_run_only_if_it_catches_up() -> None:
    assert "let the next run catch up" in compose(make_alert(AlertKind.FAILED)).text
    mail = compose(make_alert(AlertKind.FAILED, next_run_catches_up=False))
    assert "next run" not in mail.text
    assert "no other run does their work" in mail.text


def test_failure_mail_names_failed_tasks_and_rejects() -> None:
    failure = TaskFailure("chunk.download", 2, 3, "ProviderRefused", "plaid refused;\nmend the credentials")
    mail = compose(
        make_alert(
            AlertKind.FAILED,
            failures=(failure,),
            failed_task_count=4,
            rejects=(RejectsByRule("iso4217", 1200),),
            progress=ChunkProgress(5, 3),
        )
    )
    assert mail.subject == "etl_transactions failed: ProviderRefused from download"
    for fragment in (
        "download, chunk 3, attempt 3: ProviderRefused",
        "    mend the credentials",
        "1,200 by iso4217",
        "3 of 5",
    ):
        assert fragment in mail.text


def test_failure_mail_names_logins_by_outcome_and_reason() -> None:
    read = (LoginsByOutcome("read", "", 1228), LoginsByOutcome("still_stopped", "ITEM_LOCKED", 3))
    mail = compose(make_alert(AlertKind.FAILED, logins=(*read, *STOPPED)))
    expected = (
        "1,228 read, 3 still stopped (ITEM_LOCKED), 11 stopped (ITEM_LOGIN_REQUIRED), "
        "1 stopped (USER_PERMISSION_REVOKED)"
    )
    for form in (mail.text, mail.html):
        assert expected in form


def test_a_mail_about_stopped_logins_has_each_code_with_its_remedy() -> None:
    mail = compose(make_alert(AlertKind.LOGINS_STOPPED, logins=STOPPED))
    for form in (mail.text, mail.html):
        assert "11 stopped (ITEM_LOGIN_REQUIRED), 1 stopped (USER_PERMISSION_REVOKED)" in form
        assert "Ask the bank." in form
        assert "sluice logins list --state needs_login" in form
        assert "logins resume" in form


def test_failure_details_cannot_inject_markup_or_headers() -> None:
    failure = TaskFailure("<b>", -1, 1, "<script>alert(1)</script>", "</div><img src=x>")
    mail = compose(make_alert(AlertKind.FAILED, failures=(failure,)))
    assert "<script>" not in mail.html
    assert "<img" not in mail.html
    assert (
        "\n"
        not in compose(make_alert(AlertKind.FAILED, failures=(TaskFailure("a\nBcc: x@y", -1, 1, "E", ""),))).subject
    )


def test_own_errors_are_shown_in_full_and_foreign_errors_without_values() -> None:
    ours = ProviderRefused("plaid", "answered 'INVALID_API_KEYS'")
    assert sanitize_message(str(ours), type(ours)) == str(ours)
    foreign = (
        'invalid input syntax for type numeric: "Jane Doe", jane@example.com, GB29 NWBK 6016 1331 9268 19, '
        "postgresql://me:hunter2@host/db\nCONTEXT:  COPY incoming, line 3, column amount"
    )
    sanitized = sanitize_message(foreign, ValueError)
    assert sanitized.startswith("invalid input syntax for type numeric: …")
    for secret in ("Jane", "jane@", "6016", "hunter2", "CONTEXT"):
        assert secret not in sanitized


@pytest.mark.parametrize("word", ["aa", "a@", "'a", "(a", "1-", "://"])
def test_an_error_message_of_twice_the_length_takes_at_most_about_twice_as_long(word: str) -> None:
    text = word * 20_000

    def measure(message: str) -> float:
        started = time.process_time()
        sanitize_message(message, ValueError)
        return time.process_time() - started

    assert min(measure(text * 2) for _ in range(3)) < 3 * min(measure(text) for _ in range(3)) + 0.01


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(seconds=40), "40 s"),
        (timedelta(minutes=7, seconds=20), "7 min"),
        (timedelta(hours=-2), "2 h"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(duration: timedelta, expected: str) -> None:
    assert format_duration(duration) == expected


def test_time_includes_the_day_unless_it_is_today() -> None:
    assert format_time(DUE_AT, relative_to=DUE_AT - minutes(60)) == "02:00 UTC"
    assert format_time(DUE_AT, relative_to=DUE_AT - timedelta(days=1)) == "Tue 24 Nov, 02:00 UTC"


HELD = NoticeOutcome(17, "held", "email: 550 5.7.1 blocked", sent=600, failed=2, deferred=2_398, unknown=3)
FAILED = replace(
    HELD,
    state="failed",
    reason="2,400 of 3,000 messages were not delivered (550: 2,400)",
    refusals=("mail.example (email): 2,400 × 550 5.1.1 no such user",),
)


@pytest.mark.parametrize("kind", [AlertKind.FORECAST, AlertKind.MISSED, AlertKind.HELD, AlertKind.FAILED])
def test_mail_about_a_notice_counts_its_messages(kind: AlertKind) -> None:
    mail = compose(make_alert(kind, notice=HELD))
    for form in (mail.text, mail.html):
        assert "600 sent, 2 failed, 2,398 deferred, 3 unknown" in form


def test_mail_about_a_hold_quotes_the_server() -> None:
    mail = compose(make_alert(AlertKind.HELD, notice=HELD))
    assert "email: 550 5.7.1 blocked" in mail.text
    assert "the run continues by itself" in mail.text


def test_mail_about_a_failed_notice_says_who_refused_what_and_what_to_do() -> None:
    failure = TaskFailure("all_sent", -1, 1, "NoticeRunFailed", "the same again")
    mail = compose(make_alert(AlertKind.FAILED, notice=FAILED, failures=(failure,)))
    assert mail.subject == "etl_transactions failed: 2,400 of 3,000 messages were not delivered (550: 2,400)"
    for form in (mail.text, mail.html):
        assert "mail.example (email): 2,400 × 550 5.1.1 no such user" in form
        assert "sluice notify retry 17" in form
        assert "the same again" not in form


def test_a_failed_task_of_a_notice_is_still_named() -> None:
    failure = TaskFailure("send", 3, 2, "ChannelRefused", "535 wrong password")
    mail = compose(make_alert(AlertKind.FAILED, notice=replace(HELD, state="running"), failures=(failure,)))
    assert mail.subject == "etl_transactions failed: ChannelRefused from send"
    assert "535 wrong password" in mail.text
