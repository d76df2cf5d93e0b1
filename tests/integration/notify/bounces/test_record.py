"""A report counts once, for the delivery that it proves to be about, and a complaint takes effect at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dev.servers.ports import LOOPBACK
from etl.catalog.channels import EMAIL
from etl.catalog.retention import RETENTION
from etl.clients.mail_server import MailServer, Security
from etl.declare.notice import Category, Consent
from etl.mail_address import MailAddress
from etl.maintenance.purge_tables import purge_bounces
from etl.notify.bounces.read import read_report
from etl.notify.bounces.record import Disposition, RecordedReport, ReportRecorder
from etl.notify.bounces.return_path import ReturnPaths
from etl.notify.bounces.settle import settle_bounces
from etl.notify.channels.channel import Message
from etl.notify.channels.email import EmailConfig, EmailSender
from etl.notify.progress import read_progress
from etl.settings import ReturnPathSettings
from tests.integration.clients.scripted_smtp import ScriptedSmtp
from tests.integration.notify.bounces.test_addresses import ENDED, GONE, pass_days, send_period, settle
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address
from tests.unit.notify.bounces.reports import complaint, delivery_report

Rows = Callable[..., list[tuple[object, ...]]]
PATHS = ReturnPaths(ReturnPathSettings("bounce@bank.example", ("k" * 32,)))
BOUNCES = "select delivery_id, kind::text, source, status from notify.bounces order by bounce_id"


@pytest.fixture
def user(post: NoticeHarness) -> int:
    """Return the first of ten users, all of whom have got a mail: that of the delivery with their number."""
    users = post.enrol(10)
    send_period(post, 1, {})
    assert post.db.execute("select delivery_id from notify.deliveries order by user_id").fetchall() == [
        (user,) for user in users
    ]
    return users[0]


def record(post: NoticeHarness, content: bytes, category: Category = FAST.category) -> RecordedReport:
    recorder = ReportRecorder(PATHS, EMAIL, {FAST.name: category})
    return recorder.record(read_report(content), db=post.db)


def test_a_signed_report_is_recorded_once_at_its_delivery(post: NoticeHarness, user: int, rows: Rows) -> None:
    report = delivery_report(to=PATHS.build(user))
    assert record(post, report) == RecordedReport(Disposition.RECORDED, delivery_id=user)
    assert record(post, report).disposition is Disposition.REPEATED
    assert rows(BOUNCES) == [(user, "hard", "report", "5.1.1")]
    assert post.states() == {"sent": 10}


def test_a_report_that_is_not_signed_must_name_the_recipient_of_its_mail(
    post: NoticeHarness, user: int, rows: Rows
) -> None:
    guessed = delivery_report(delivery_id=user)
    assert record(post, guessed).reason == f"it is not signed, and does not name the recipient of delivery {user}"
    assert rows(BOUNCES) == []
    named = delivery_report(delivery_id=user, recipient=f"rfc822; {address(user).upper()}")
    assert record(post, named).disposition is Disposition.RECORDED


def test_a_forged_signature_is_no_proof(post: NoticeHarness, user: int, rows: Rows) -> None:
    forged = ReturnPaths(ReturnPathSettings("bounce@bank.example", ("f" * 32,))).build(user)
    assert record(post, delivery_report(to=forged, delivery_id=0)).disposition is Disposition.UNMATCHED
    assert rows(BOUNCES) == []


@pytest.mark.parametrize("state", ["suppressed", "expired"])
def test_a_report_about_a_mail_that_was_never_sent_is_not_matched(post: NoticeHarness, user: int, state: str) -> None:
    post.db.execute("update notify.deliveries set state = %s", (state,))
    for delivery_id in (user, 4_711):
        reason = record(post, delivery_report(to=PATHS.build(delivery_id))).reason
        assert reason == f"there is no sent mail of delivery {delivery_id}"


def test_a_report_counts_against_the_address_that_was_used_then(post: NoticeHarness, user: int, rows: Rows) -> None:
    post.db.execute(
        "insert into notify.contacts (user_id, channel, address) values (%s, 'email', 'new@x.example')", (user,)
    )
    record(post, delivery_report(to=PATHS.build(user), recipient="rfc822; forwarded@elsewhere.example"))
    (contact,) = rows("select address from notify.contacts inner join notify.bounces using (contact_id)")
    assert contact == (address(user),)


def test_reports_end_an_address_although_its_server_accepts_each_mail(
    post: NoticeHarness, user: int, rows: Rows
) -> None:
    record(post, delivery_report(to=PATHS.build(user)))
    settle(post.db)
    pass_days(post.db, 4)
    send_period(post, 2, {})
    assert rows("select accepted_at is not null from notify.bounces") == [(True,)]
    record(post, delivery_report(to=PATHS.build(user + 10)))
    assert rows("select accepted_at is not null from notify.bounces") == [(False,), (False,)]
    assert settle(post.db) == 1
    assert rows(ENDED) == [(user, "5.1.1")]


def test_a_mail_that_no_report_follows_for_days_clears_what_was_reported_before(
    post: NoticeHarness, user: int, rows: Rows
) -> None:
    record(post, delivery_report(to=PATHS.build(user)))
    pass_days(post.db, 4)
    send_period(post, 2, {})
    pass_days(post.db, 6)
    send_period(post, 3, {address(user): GONE})
    assert settle(post.db) == 0
    assert rows(ENDED) == []


def test_an_accepted_mail_clears_nothing_that_was_reported_while_a_report_about_it_may_still_come(
    post: NoticeHarness, user: int, rows: Rows
) -> None:
    record(post, delivery_report(to=PATHS.build(user)))
    settle(post.db)
    pass_days(post.db, 4)
    send_period(post, 2, {})
    pass_days(post.db, 1)
    send_period(post, 3, {address(user): GONE})
    assert settle(post.db) == 1
    assert rows(ENDED) == [(user, "550")]


def test_a_report_that_comes_before_its_mail_is_recorded_as_sent_counts(
    post: NoticeHarness, user: int, rows: Rows
) -> None:
    record(post, delivery_report(to=PATHS.build(user)))
    pass_days(post.db, 4)

    def report(messages: Sequence[Message]) -> None:
        for message in messages:
            record(post, delivery_report(to=PATHS.build(message.delivery_id)))

    post.mailbox.after = report
    post.send_all(period="2026-02")
    assert rows("select count(*) from notify.bounces where accepted_at is not null") == [(0,)]


def test_a_complaint_suppresses_its_address_and_ends_the_category_at_once(
    post: NoticeHarness, user: int, rows: Rows
) -> None:
    assert record(post, complaint(mail_from=PATHS.build(user), recipient="")).disposition is Disposition.RECORDED
    assert rows("select address, reason from notify.suppressions") == [(address(user), "complained")]
    assert rows("select user_id, category, granted from notify.consents") == [(user, "reports", False)]
    post.db.execute("delete from notify.suppressions")
    assert record(post, complaint(mail_from=PATHS.build(user))).disposition is Disposition.REPEATED
    assert rows("select * from notify.suppressions") == []


def test_a_complaint_about_a_category_that_cannot_be_refused_only_suppresses(
    post: NoticeHarness, user: int, rows: Rows
) -> None:
    record(post, complaint(mail_from=PATHS.build(user)), replace(FAST.category, consent=Consent.NONE))
    assert rows("select address from notify.suppressions") == [(address(user),)]
    assert rows("select * from notify.consents") == []


def test_who_only_opts_out_gets_what_else_they_want(post: NoticeHarness, user: int, rows: Rows) -> None:
    record(post, complaint(mail_from=PATHS.build(user), feedback_type="opt-out"))
    assert rows("select * from notify.suppressions") == []
    assert rows("select category from notify.consents") == [("reports",)]


def test_bounces_do_not_outlive_the_contacts_of_a_deleted_user(post: NoticeHarness, user: int, rows: Rows) -> None:
    record(post, delivery_report(to=PATHS.build(user)))
    post.db.execute("delete from notify.contacts where user_id = %s", (user,))
    assert rows(BOUNCES) == []
    assert record(post, delivery_report(to=PATHS.build(user))).disposition is Disposition.RECORDED
    assert settle_bounces(db=post.db, as_of=datetime.now(UTC) + timedelta(hours=2)) == 0


def test_the_progress_of_a_run_counts_what_was_reported_of_its_mails(post: NoticeHarness, user: int) -> None:
    record(post, delivery_report(to=PATHS.build(user)))
    record(post, delivery_report(to=PATHS.build(user + 1)))
    record(post, complaint(mail_from=PATHS.build(user + 2)))
    send_period(post, 2, {})
    for run_id, bounces in ((1, {"hard": 2, "complaint": 1}), (2, {})):
        progress = read_progress(run_id, channel_count=1, as_of=datetime.now(UTC), db=post.db)
        assert progress.bounces == bounces


def test_bounces_are_removed_with_the_deliveries_of_their_time(post: NoticeHarness, user: int, rows: Rows) -> None:
    record(post, delivery_report(to=PATHS.build(user)))
    pass_days(post.db, 390)
    send_period(post, 2, {})
    record(post, delivery_report(to=PATHS.build(user + 10)))
    pass_days(post.db, 11)
    now = datetime.now(UTC)
    assert [each.count for each in purge_bounces(RETENTION, db=post.db, as_of=now, dry_run=True)] == [1]
    assert rows("select counts from notify.bounces") == [(None,), (None,)]
    assert [each.count for each in purge_bounces(RETENTION, db=post.db, as_of=now, dry_run=False)] == [1]
    assert rows(BOUNCES) == [(user + 10, "hard", "report", "5.1.1")]


def test_the_envelope_of_each_mail_names_its_delivery_and_its_header_does_not() -> None:
    async def send() -> ScriptedSmtp:
        sender = MailAddress("sluice@bank.example")
        async with ScriptedSmtp({}) as server:
            config = EmailConfig(MailServer(LOOPBACK, server.port, Security.PLAIN, sender), connections=1)
            async with EmailSender(config, PATHS) as channel:
                parts = {"subject": "Hello", "text": "Hello"}
                await channel.send([Message(number, "joe@home.example", parts) for number in (7, 8)])
        return server

    senders = [line for line in asyncio.run(send()).commands if line.upper().startswith("MAIL FROM")]
    assert [PATHS.find([line]) for line in senders] == [7, 8]
