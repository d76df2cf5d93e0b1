"""A preview says what `send` would do and say, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.catalog.channels import DESKTOP
from etl.db.connection import Warehouse
from etl.notify.channels.channel import Outcome, Result
from etl.notify.estimate import ParametersMissing, forecast_notice
from etl.notify.preview import NotInAudience, Preview, preview
from etl.notify.store import runs
from etl.notify.store.runs import State
from tests.integration.notify.notice_harness import FAST, Post, address, stop

Rows = Callable[..., list[tuple[object, ...]]]
PERIOD = "2026-10"


@pytest.fixture
def looker(connect: Callable[[], Warehouse]) -> Warehouse:
    """Return a connection that can only read."""
    connection = connect()
    connection.read_only = True
    return connection


@pytest.fixture
def look(post: Post, looker: Warehouse) -> Callable[..., Preview]:
    """Return a function that previews the notice for a user."""

    def run(user_id: int, **options: Any) -> Preview:
        with looker.transaction():
            return preview(post.notice, PERIOD, user_id, as_of=datetime.now(UTC), warehouse=looker, **options)

    return run


def test_a_preview_is_the_message_that_send_then_sends(post: Post, look: Callable[..., Preview]) -> None:
    _, user, _ = post.enrol(3)
    (shown,) = look(user).shown
    post.send_all()
    (sent,) = [message for message in post.mailbox.arrived if message.address == address(user)]
    assert shown.obstacle == ""
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
    post: Post, look: Callable[..., Preview], warehouse: Warehouse, change: str, told: str
) -> None:
    user, _ = post.enrol(2)
    warehouse.execute(change.encode(), (user,))
    (shown,) = look(user).shown
    assert shown.obstacle == told
    post.send_all()
    assert address(user) not in post.mailbox.addresses


def test_what_was_sent_would_not_be_sent_again_and_is_shown_as_it_was(post: Post, look: Callable[..., Preview]) -> None:
    user, failed = post.enrol(2)
    post.mailbox.answers = {address(failed): [Result(0, Outcome.FAILED, "550", "no")]}
    planned = post.send_all()
    found = look(user)
    assert found.run == post.run(planned.run_id)
    assert found.shown[0].obstacle.startswith(f"run {planned.run_id} has it as sent since 20")
    assert look(failed).shown[0].obstacle.startswith(f"run {planned.run_id} has it as failed (550) since 20")
    assert found.shown[0].message == post.mailbox.arrived[0]


def test_a_run_that_has_expired_is_shown_and_would_not_be_sent(post: Post, look: Callable[..., Preview]) -> None:
    user, _ = post.enrol(2)
    post.notice = replace(FAST, expiry=timedelta(microseconds=1))
    post.plan()
    (shown,) = look(user).shown
    assert shown.obstacle == "the run has expired"
    assert shown.message is not None


def test_a_user_who_is_no_recipient_is_told_why_as_far_as_it_is_known(
    post: Post, look: Callable[..., Preview], warehouse: Warehouse
) -> None:
    stopped, *_ = post.enrol(2)
    stop(warehouse, stopped)
    with pytest.raises(NotInAudience, match=r"`recipients` in .*monthly_report\.sql leaves them out.* 1 stop"):
        look(stopped)
    with pytest.raises(NotInAudience, match="there is no user of this id"):
        look(99)
    post.plan()
    (late,) = post.enrol(1)
    warehouse.execute("update core.users set created_at = now() where user_id = %s", (late,))
    with pytest.raises(NotInAudience, match=r"they were added at .* UTC, after it was frozen"):
        look(late)


def test_a_channel_without_an_address_is_told_beside_those_that_have_one(
    post: Post, look: Callable[..., Preview]
) -> None:
    user, _ = post.enrol(2)
    post.notice = replace(FAST, channels=(*FAST.channels, replace(DESKTOP, lines=(), texts=())))
    email, desktop = look(user).shown
    assert email.obstacle == ""
    assert (desktop.message, desktop.obstacle[:30]) == (None, "the user has no address for de")


def test_a_forecast_is_what_a_run_then_does(post: Post, looker: Warehouse, warehouse: Warehouse) -> None:
    refusing, suppressed, unreachable, *_ = post.enrol(25)
    warehouse.execute("insert into notify.consents values (%s, 'reports', false)", (refusing,))
    warehouse.execute(
        "insert into notify.suppressions (address, channel, reason) values (%s, 'email', 'bounced')",
        (address(suppressed),),
    )
    warehouse.execute("delete from notify.contacts where user_id = %s", (unreachable,))
    with looker.transaction():
        expected = forecast_notice(post.notice, PERIOD, as_of=datetime.now(UTC), warehouse=looker)
    planned = post.send_all()
    totals = post.totals(planned.run_id)
    assert (expected.recipients, expected.chunks, expected.smallest, expected.largest) == (25, 3, 8, 9)
    assert expected.verdicts == {"email": {"to_send": 22, "no_consent": 1, "suppressed_address": 1, "unreachable": 1}}
    assert (totals["chunks"], totals["sent"], totals["suppressed"], totals["unreachable"]) == (3, 22, 2, 1)
    assert expected.least_time == timedelta(seconds=22 / post.notice.pace)
    with looker.transaction():
        again = forecast_notice(post.notice, PERIOD, as_of=datetime.now(UTC), warehouse=looker)
    assert again.verdicts["email"]["repeated"] == 24
    assert again.messages == 0


def test_neither_writes_anything(post: Post, look: Callable[..., Preview], looker: Warehouse, rows: Rows) -> None:
    user, _ = post.enrol(2)
    look(user)
    with looker.transaction():
        forecast_notice(post.notice, PERIOD, as_of=datetime.now(UTC), warehouse=looker)
    for table in ("notices", "runs", "chunks", "deliveries"):
        assert rows(f"select count(*) from notify.{table}") == [(0,)]


def test_a_value_that_the_statements_lack_is_asked_for(post: Post, looker: Warehouse, monkeypatch: Any) -> None:
    monkeypatch.setattr("etl.notify.estimate.STATEMENTS", ("bounds",))
    monkeypatch.setattr(
        "etl.notify.estimate.statement", lambda *_: type("Text", (), {"as_string": lambda *_: "%(alert)s %(as_of)s"})()
    )
    with pytest.raises(ParametersMissing, match=r'need alert, .* give --parameters \'\{"alert": …\}\''):
        forecast_notice(post.notice, PERIOD, as_of=datetime.now(UTC), warehouse=looker)


def test_a_preview_of_a_planned_run_is_as_that_was_frozen(post: Post, look: Callable[..., Preview]) -> None:
    user, _ = post.enrol(2)
    planned = post.plan()
    runs.steer(post.warehouse, planned.run_id, pace=5, state=State.PAUSED)
    found = look(user, parameters={"more": 1})
    assert (found.run.run_id, found.run.pace, found.run.state) == (planned.run_id, 5, "paused")
    assert found.run.parameters == {"more": 1}
