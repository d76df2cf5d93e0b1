"""A preview shows the messages that `send` would send, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.catalog.channels import DESKTOP
from etl.catalog_folder import CatalogFolder
from etl.db.connection import Connection
from etl.notify.channels.channel import SendOutcome, SendResult
from etl.notify.estimate import ParametersMissing, estimate_run
from etl.notify.review.preview import NotInAudience, Preview, build_preview
from etl.notify.store import runs
from etl.notify.store.runs import RunState
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address, stop_logins

Rows = Callable[..., list[tuple[object, ...]]]
PERIOD = "2026-10"


@pytest.fixture
def read_only_db(connect: Callable[[], Connection]) -> Connection:
    """Return a connection that can only read."""
    connection = connect()
    connection.read_only = True
    return connection


@pytest.fixture
def preview(post: NoticeHarness, read_only_db: Connection) -> Callable[..., Preview]:
    """Return a function that previews the notice for a user."""

    def run(user_id: int, **options: Any) -> Preview:
        with read_only_db.transaction():
            return build_preview(post.notice, PERIOD, user_id, as_of=datetime.now(UTC), db=read_only_db, **options)

    return run


def test_preview_is_the_message_that_is_sent_later(post: NoticeHarness, preview: Callable[..., Preview]) -> None:
    _, user, _ = post.enrol(3)
    (previewed,) = preview(user).messages
    post.send_all()
    (sent,) = [message for message in post.mailbox.arrived if message.address == address(user)]
    assert previewed.blocking_reason == ""
    assert previewed.message is not None
    assert replace(previewed.message, delivery_id=sent.delivery_id) == sent


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("insert into notify.consents values (%s, 'reports', false)", "no consent"),
        (
            "insert into notify.suppressions select address, channel, 'spam' from notify.contacts where user_id = %s",
            "the address is suppressed",
        ),
        (
            "update notify.contacts set ended_at = now() where user_id = %s",
            "the user has no address for email, or none that is still valid",
        ),
        (
            "update notify.contacts set address = 'nobody' where user_id = %s",
            "malformed_address: not a valid email address",
        ),
    ],
)
def test_preview_names_the_reason_why_a_message_would_not_be_sent(
    post: NoticeHarness, preview: Callable[..., Preview], db: Connection, change: str, reason: str
) -> None:
    user, _ = post.enrol(2)
    db.execute(change.encode(), (user,))
    (previewed,) = preview(user).messages
    assert previewed.blocking_reason == reason
    post.send_all()
    assert address(user) not in post.mailbox.addresses


def test_preview_of_a_sent_message_shows_it_and_that_it_was_sent(
    post: NoticeHarness, preview: Callable[..., Preview]
) -> None:
    user, failed = post.enrol(2)
    post.mailbox.answers = {address(failed): [SendResult(0, SendOutcome.FAILED, "550", "no")]}
    planned = post.send_all()
    result = preview(user)
    assert result.run.run_id == planned.run_id
    assert result.messages[0].blocking_reason.startswith(
        f"run {planned.run_id} has already processed it: sent since 20"
    )
    assert (
        preview(failed)
        .messages[0]
        .blocking_reason.startswith(f"run {planned.run_id} has already processed it: failed (550) since 20")
    )
    assert result.messages[0].message == post.mailbox.arrived[0]


def test_preview_of_an_expired_run_shows_the_message_as_blocked(
    post: NoticeHarness, preview: Callable[..., Preview]
) -> None:
    user, _ = post.enrol(2)
    post.notice = replace(FAST, expiry=timedelta(microseconds=1))
    post.plan()
    (previewed,) = preview(user).messages
    assert previewed.blocking_reason == "the run has expired"
    assert previewed.message is not None


def test_preview_for_a_user_outside_the_audience_names_the_reason(
    post: NoticeHarness, preview: Callable[..., Preview], db: Connection
) -> None:
    stopped, *_ = post.enrol(2)
    stop_logins(db, stopped)
    with pytest.raises(
        NotInAudience, match=r"`recipients` in .*monthly_report\.sql does not select them.* 1 suspended"
    ):
        preview(stopped)
    with pytest.raises(NotInAudience, match="there is no user of this id"):
        preview(99)
    post.plan()
    (late,) = post.enrol(1)
    db.execute("update core.users set created_at = now() where user_id = %s", (late,))
    with pytest.raises(NotInAudience, match=r"they were added at .* UTC, after the audience was frozen"):
        preview(late)


def test_channel_without_an_address_is_listed_beside_the_others(
    post: NoticeHarness, preview: Callable[..., Preview], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    user, _ = post.enrol(2)
    (tmp_path / "desktop.body.jinja").write_text("Your month")
    folders = (tmp_path, *CatalogFolder().template_folders(FAST.name))
    monkeypatch.setattr(CatalogFolder, "template_folders", lambda *_: folders)
    post.notice = replace(FAST, channels=(*FAST.channels, replace(DESKTOP, lines=())))
    email, desktop = preview(user).messages
    assert email.blocking_reason == ""
    assert (desktop.message, desktop.blocking_reason[:30]) == (None, "the user has no address for de")


def test_estimate_agrees_with_the_run(post: NoticeHarness, read_only_db: Connection, db: Connection) -> None:
    refusing, suppressed, unreachable, *_ = post.enrol(25)
    db.execute("insert into notify.consents values (%s, 'reports', false)", (refusing,))
    db.execute(
        "insert into notify.suppressions (address, channel, reason) values (%s, 'email', 'bounced')",
        (address(suppressed),),
    )
    db.execute("delete from notify.contacts where user_id = %s", (unreachable,))
    with read_only_db.transaction():
        expected = estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=read_only_db)
    planned = post.send_all()
    totals = post.totals(planned.run_id)
    assert (expected.recipients, expected.chunks, expected.smallest_chunk, expected.largest_chunk) == (25, 3, 8, 9)
    assert expected.dispositions == {
        "email": {"to_send": 22, "no_consent": 1, "suppressed_address": 1, "unreachable": 1}
    }
    assert (totals["chunks"], totals["sent"], totals["suppressed"], totals["unreachable"]) == (3, 22, 2, 1)
    assert expected.min_duration == timedelta(seconds=22 / post.notice.pace)
    with read_only_db.transaction():
        second = estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=read_only_db)
    assert second.dispositions["email"]["repeated"] == 24
    assert second.messages == 0


def test_preview_and_estimate_write_nothing(
    post: NoticeHarness, preview: Callable[..., Preview], read_only_db: Connection, rows: Rows
) -> None:
    user, _ = post.enrol(2)
    preview(user)
    with read_only_db.transaction():
        estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=read_only_db)
    for table in ("notices", "runs", "chunks", "deliveries"):
        assert rows(f"select count(*) from notify.{table}") == [(0,)]


def test_missing_parameter_of_the_statements_is_named(
    post: NoticeHarness, read_only_db: Connection, monkeypatch: Any
) -> None:
    monkeypatch.setattr("etl.notify.estimate.REQUIRED_STATEMENTS", ("bounds",))
    monkeypatch.setattr(
        "etl.notify.estimate.statement", lambda *_: type("Text", (), {"as_string": lambda *_: "%(alert)s %(as_of)s"})()
    )
    with pytest.raises(ParametersMissing, match=r'need alert, .* give --parameters \'\{"alert": …\}\''):
        estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=read_only_db)


def test_preview_of_a_planned_run_uses_its_settings(post: NoticeHarness, preview: Callable[..., Preview]) -> None:
    user, _ = post.enrol(2)
    planned = post.plan()
    runs.set_pace_or_state(post.db, planned.run_id, pace=5, state=RunState.PAUSED)
    result = preview(user, parameters={"more": 1})
    assert (result.run.run_id, result.run.pace, result.run.state) == (planned.run_id, 5, "paused")
    assert result.run.parameters == {**post.notice.parameters, "more": 1}
