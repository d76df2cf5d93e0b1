"""A preview says what `send` would do and say, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.catalog.channels import DESKTOP
from etl.db.connection import Connection
from etl.notify.channels.channel import SendOutcome, SendResult
from etl.notify.estimate import ParametersMissing, estimate_run
from etl.notify.preview import NotInAudience, Preview, build_preview
from etl.notify.store import runs
from etl.notify.store.runs import RunState
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address, stop_logins

Rows = Callable[..., list[tuple[object, ...]]]
PERIOD = "2026-10"


@pytest.fixture
def looker(connect: Callable[[], Connection]) -> Connection:
    """Return a connection that can only read."""
    connection = connect()
    connection.read_only = True
    return connection


@pytest.fixture
def look(post: NoticeHarness, looker: Connection) -> Callable[..., Preview]:
    """Return a function that previews the notice for a user."""

    def run(user_id: int, **options: Any) -> Preview:
        with looker.transaction():
            return build_preview(post.notice, PERIOD, user_id, as_of=datetime.now(UTC), db=looker, **options)

    return run


def test_a_preview_is_the_message_that_send_then_sends(post: NoticeHarness, look: Callable[..., Preview]) -> None:
    _, user, _ = post.enrol(3)
    (shown,) = look(user).messages
    post.send_all()
    (sent,) = [message for message in post.mailbox.arrived if message.address == address(user)]
    assert shown.blocking_reason == ""
    assert shown.message is not None
    assert replace(shown.message, delivery_id=sent.delivery_id) == sent


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("insert into notify.consents values (%s, 'reports', false)", "no consent"),
        (
            "insert into notify.suppressions select address, channel, 'spam' from notify.contacts where user_id = %s",
            "the address is suppressed",
        ),
        (
            "update notify.contacts set ended_at = now() where user_id = %s",
            "the user has no address for email, or none that is still in use",
        ),
        (
            "update notify.contacts set address = 'nobody' where user_id = %s",
            "malformed_address: no address of email",
        ),
    ],
)
def test_what_send_would_hold_back_a_preview_says_would_not_be_sent(
    post: NoticeHarness, look: Callable[..., Preview], db: Connection, change: str, told: str
) -> None:
    user, _ = post.enrol(2)
    db.execute(change.encode(), (user,))
    (shown,) = look(user).messages
    assert shown.blocking_reason == told
    post.send_all()
    assert address(user) not in post.mailbox.addresses


def test_what_was_sent_would_not_be_sent_again_and_is_shown_as_it_was(
    post: NoticeHarness, look: Callable[..., Preview]
) -> None:
    user, failed = post.enrol(2)
    post.mailbox.answers = {address(failed): [SendResult(0, SendOutcome.FAILED, "550", "no")]}
    planned = post.send_all()
    found = look(user)
    assert found.run == post.run(planned.run_id)
    assert found.messages[0].blocking_reason.startswith(f"run {planned.run_id} has it as sent since 20")
    assert look(failed).messages[0].blocking_reason.startswith(f"run {planned.run_id} has it as failed (550) since 20")
    assert found.messages[0].message == post.mailbox.arrived[0]


def test_a_run_that_has_expired_is_shown_and_would_not_be_sent(
    post: NoticeHarness, look: Callable[..., Preview]
) -> None:
    user, _ = post.enrol(2)
    post.notice = replace(FAST, expiry=timedelta(microseconds=1))
    post.plan()
    (shown,) = look(user).messages
    assert shown.blocking_reason == "the run has expired"
    assert shown.message is not None


def test_a_user_who_is_no_recipient_is_told_why_as_far_as_it_is_known(
    post: NoticeHarness, look: Callable[..., Preview], db: Connection
) -> None:
    stopped, *_ = post.enrol(2)
    stop_logins(db, stopped)
    with pytest.raises(NotInAudience, match=r"`recipients` in .*monthly_report\.sql leaves them out.* 1 stop"):
        look(stopped)
    with pytest.raises(NotInAudience, match="there is no user of this id"):
        look(99)
    post.plan()
    (late,) = post.enrol(1)
    db.execute("update core.users set created_at = now() where user_id = %s", (late,))
    with pytest.raises(NotInAudience, match=r"they were added at .* UTC, after it was frozen"):
        look(late)


def test_a_channel_without_an_address_is_told_beside_those_that_have_one(
    post: NoticeHarness, look: Callable[..., Preview]
) -> None:
    user, _ = post.enrol(2)
    post.notice = replace(FAST, channels=(*FAST.channels, replace(DESKTOP, lines=(), texts=())))
    email, desktop = look(user).messages
    assert email.blocking_reason == ""
    assert (desktop.message, desktop.blocking_reason[:30]) == (None, "the user has no address for de")


def test_a_forecast_is_what_a_run_then_does(post: NoticeHarness, looker: Connection, db: Connection) -> None:
    refusing, suppressed, unreachable, *_ = post.enrol(25)
    db.execute("insert into notify.consents values (%s, 'reports', false)", (refusing,))
    db.execute(
        "insert into notify.suppressions (address, channel, reason) values (%s, 'email', 'bounced')",
        (address(suppressed),),
    )
    db.execute("delete from notify.contacts where user_id = %s", (unreachable,))
    with looker.transaction():
        expected = estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=looker)
    planned = post.send_all()
    totals = post.totals(planned.run_id)
    assert (expected.recipients, expected.chunks, expected.smallest_chunk, expected.largest_chunk) == (25, 3, 8, 9)
    assert expected.dispositions == {
        "email": {"to_send": 22, "no_consent": 1, "suppressed_address": 1, "unreachable": 1}
    }
    assert (totals["chunks"], totals["sent"], totals["suppressed"], totals["unreachable"]) == (3, 22, 2, 1)
    assert expected.min_duration == timedelta(seconds=22 / post.notice.pace)
    with looker.transaction():
        again = estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=looker)
    assert again.dispositions["email"]["repeated"] == 24
    assert again.messages == 0


def test_neither_writes_anything(
    post: NoticeHarness, look: Callable[..., Preview], looker: Connection, rows: Rows
) -> None:
    user, _ = post.enrol(2)
    look(user)
    with looker.transaction():
        estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=looker)
    for table in ("notices", "runs", "chunks", "deliveries"):
        assert rows(f"select count(*) from notify.{table}") == [(0,)]


def test_a_value_that_the_statements_lack_is_asked_for(
    post: NoticeHarness, looker: Connection, monkeypatch: Any
) -> None:
    monkeypatch.setattr("etl.notify.estimate.REQUIRED_STATEMENTS", ("bounds",))
    monkeypatch.setattr(
        "etl.notify.estimate.statement", lambda *_: type("Text", (), {"as_string": lambda *_: "%(alert)s %(as_of)s"})()
    )
    with pytest.raises(ParametersMissing, match=r'need alert, .* give --parameters \'\{"alert": …\}\''):
        estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=looker)


def test_a_preview_of_a_planned_run_is_as_that_was_frozen(post: NoticeHarness, look: Callable[..., Preview]) -> None:
    user, _ = post.enrol(2)
    planned = post.plan()
    runs.set_pace_or_state(post.db, planned.run_id, pace=5, state=RunState.PAUSED)
    found = look(user, parameters={"more": 1})
    assert (found.run.run_id, found.run.pace, found.run.state) == (planned.run_id, 5, "paused")
    assert found.run.parameters == {"more": 1}
