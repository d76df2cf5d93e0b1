"""Send windows, spreading and languages, as a run is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from etl.catalog.notices.low_balance.notice import LOW_BALANCE
from etl.db.connection import Connection
from etl.declare.notice import SendWindow
from etl.notify.estimate import estimate_run
from etl.notify.review.preview import build_preview
from etl.notify.send import DeliveriesDeferred
from tests.integration.notify.bank_data import find_provider_account, set_balance
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address

Rows = Callable[..., list[tuple[object, ...]]]
PERIOD = "2026-10"
DAYTIME = SendWindow(earliest=time(8), latest=time(20))


def zone_where_it_is(hour: int) -> str:
    """Return a time zone whose clocks show this hour now."""
    ahead = (hour - datetime.now(UTC).hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}"


def set_zone(db: Connection, user: int, zone: str) -> None:
    db.execute("update core.users set time_zone = %s where user_id = %s", (zone, user))


@pytest.fixture
def users(post: NoticeHarness) -> tuple[int, int]:
    """Return two users, one for whom it is noon, and one for whom it is midnight; the notice is sent by day."""
    post.notice = replace(FAST, window=DAYTIME)
    awake, asleep = post.enrol(2)
    set_zone(post.db, awake, zone_where_it_is(12))
    set_zone(post.db, asleep, zone_where_it_is(0))
    return awake, asleep


def send_until_the_night(harness: NoticeHarness) -> int:
    """Send what may be sent now, and return the run."""
    planned = harness.plan()
    with pytest.raises(DeliveriesDeferred):
        harness.send(planned.run_id, planned.ordinals)
    return planned.run_id


def test_a_message_waits_for_the_window_of_its_recipient_and_spends_no_try(
    post: NoticeHarness, users: tuple[int, int], rows: Rows
) -> None:
    awake, asleep = users
    run_id = send_until_the_night(post)
    assert post.mailbox.addresses == {address(awake): 1}
    assert post.states() == {"sent": 1, "deferred": 1}
    assert rows(
        "select f.reason, f.tries, extract(hour from f.not_before at time zone u.time_zone)::int "
        "from notify.deferrals as f join notify.deliveries using (delivery_id) join core.users as u using (user_id)"
    ) == [("quiet_hours", 0, 8)]
    set_zone(post.db, asleep, zone_where_it_is(12))
    post.db.execute("update notify.deferrals set not_before = now()")
    post.send(run_id)
    assert post.mailbox.addresses == {address(awake): 1, address(asleep): 1}
    assert post.run(run_id).state == "done"


def test_the_window_is_judged_again_before_each_try(post: NoticeHarness, users: tuple[int, int]) -> None:
    run_id = send_until_the_night(post)
    post.db.execute("update notify.deferrals set not_before = now()")
    with pytest.raises(DeliveriesDeferred):
        post.send(run_id)
    assert sum(post.mailbox.addresses.values()) == len(users) - 1


@pytest.mark.usefixtures("users")
def test_a_message_that_expires_before_the_window_opens_waits_no_longer(post: NoticeHarness, rows: Rows) -> None:
    post.notice = replace(post.notice, expiry=timedelta(hours=1))
    estimate = estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=post.db)
    assert estimate.dispositions == {"email": {"to_send": 1, "expires_in_quiet_hours": 1}}
    assert (estimate.messages, estimate.waits_until) == (1, None)
    run_id = send_until_the_night(post)
    assert rows(
        "select abs(extract(epoch from f.not_before - r.expires_at)) < 5 "
        "from notify.deferrals as f join notify.runs as r using (run_id)"
    ) == [(True,)]
    post.db.execute("update notify.deferrals set not_before = now()")
    post.db.execute("update notify.runs set expires_at = now()")
    post.send(run_id)
    assert post.states() == {"sent": 1, "expired": 1}
    assert post.run(run_id).state == "done"


def test_an_estimate_says_what_waits_until_when_and_whose_zone_is_unknown(
    post: NoticeHarness, users: tuple[int, int]
) -> None:
    (lost,) = post.enrol(1)
    set_zone(post.db, lost, "Europe/Atlantis")
    post.notice = replace(post.notice, time_zone=zone_where_it_is(12))
    estimate = estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=post.db)
    assert estimate.dispositions == {"email": {"to_send": 2, "quiet_hours": 1}}
    assert (estimate.messages, estimate.unknown_zones) == (len(users) + 1, 1)
    assert estimate.waits_until is not None
    assert timedelta(hours=7) <= estimate.waits_until - datetime.now(UTC) <= timedelta(hours=8)


def test_a_preview_says_when_the_window_opens(post: NoticeHarness, users: tuple[int, int]) -> None:
    awake, asleep = (
        build_preview(post.notice, PERIOD, user, as_of=datetime.now(UTC), db=post.db).messages[0].blocking_reason
        for user in users
    )
    assert awake == ""
    assert asleep.startswith("the recipient's send window opens at 20")


def test_a_spread_run_is_planned_with_the_pace_that_takes_its_time(post: NoticeHarness) -> None:
    post.notice = replace(FAST, spread=timedelta(seconds=200))
    post.enrol(20)
    assert estimate_run(post.notice, PERIOD, as_of=datetime.now(UTC), db=post.db).min_duration == timedelta(seconds=200)
    assert post.run(post.plan().run_id).pace == pytest.approx(0.1)


@pytest.fixture
def german(post: NoticeHarness, db: Connection) -> int:
    """Return a user in Vienna whose balance is low."""
    post.notice = replace(LOW_BALANCE, pace=1_000, expiry=None, channels=LOW_BALANCE.channels[1:])
    user, other = post.enrol(2)
    for each in (user, other):
        db.execute("insert into notify.consents values (%s, 'balances', true)", (each,))
        set_balance(db, find_provider_account(db, each), "12.34", current="1234.56")
    db.execute("update core.users set locale = 'de-AT' where user_id = %s", (user,))
    return user


def test_a_user_is_written_to_in_their_language_with_their_numbers(post: NoticeHarness, german: int) -> None:
    post.send_all(period="2026-12-28")
    subjects = {message.address: message.parts["subject"] for message in post.mailbox.arrived}
    assert subjects.pop(address(german)) == "Niedriger Kontostand: 12,34 USD auf Everyday"
    assert list(subjects.values()) == ["Low balance: 12.34 USD in Everyday"]


def test_a_preview_is_in_the_language_of_its_user(post: NoticeHarness, german: int) -> None:
    (message,) = build_preview(post.notice, "2026-12-28", german, as_of=datetime.now(UTC), db=post.db).messages
    assert message.message is not None
    assert "12,34 USD" in message.message.parts["text"]
