"""An operator resends or drops the deliveries that are in doubt."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from etl.db.connection import Connection
from etl.declare.notice import UnknownPolicy
from etl.notify import failed_deliveries
from etl.notify.channels.channel import SendOutcome
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address
from tests.integration.notify.retried_runs import resend, send_unfinished


def send_with_doubts(post: NoticeHarness) -> tuple[int, list[int]]:
    """Send a run in which two messages are in doubt; return its id and the users of these two."""
    post.notice = replace(FAST, unknown=UnknownPolicy.HOLD)
    users = post.enrol(25)
    users_in_doubt = [users[4], users[21]]
    post.mailbox.answers = {address(user): [SendOutcome.UNKNOWN] for user in users_in_doubt}
    return post.send_all().run_id, users_in_doubt


def test_deliveries_in_doubt_are_sent_again_on_request(post: NoticeHarness) -> None:
    run_id, users_in_doubt = send_with_doubts(post)
    post.mailbox.arrived.clear()
    assert resend(post, run_id).deliveries == {"451": 2}
    send_unfinished(post, run_id)
    assert post.mailbox.addresses == dict.fromkeys(map(address, users_in_doubt), 1)
    assert check_counters(post, run_id) == {"sent": 25}


def test_dropped_deliveries_stay_unknown(post: NoticeHarness) -> None:
    run_id, _ = send_with_doubts(post)
    assert failed_deliveries.drop_unknown(run_id, db=post.db).total == 2
    assert failed_deliveries.drop_unknown(run_id, db=post.db).total == 0
    assert resend(post, run_id).total == 0
    assert check_counters(post, run_id) == {"sent": 23, "unknown": 2, "dropped": 2}
    assert post.run(run_id).state == "done"


def test_dropped_deliveries_are_not_sent_again_by_a_notice_that_resends(post: NoticeHarness, db: Connection) -> None:
    run_id, _ = send_with_doubts(post)
    failed_deliveries.drop_unknown(run_id, db=post.db)
    db.execute("update notify.chunks set position = start - 1, finished_at = null")
    post.notice = replace(FAST, unknown=UnknownPolicy.RESEND)
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 23, "unknown": 2, "dropped": 2}


def test_claimed_deliveries_of_a_cancelled_run_can_be_dropped(post: NoticeHarness, db: Connection) -> None:
    post.enrol(5)
    run_id = post.send_all().run_id
    db.execute("update notify.deliveries set state = 'claimed', ended_at = null where delivery_id in (2, 3)")
    db.execute("update notify.chunks set sent = 3, finished_at = null")
    db.execute("update notify.runs set state = 'cancelled', ended_at = now() - %s", (timedelta(hours=1),))
    assert failed_deliveries.drop_unknown(run_id, db=db).total == 2
    assert check_counters(post, run_id) == {"sent": 3, "unknown": 2, "dropped": 2}
