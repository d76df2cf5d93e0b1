"""Runs with failed deliveries, and short forms of the steps that retry them."""

from __future__ import annotations

from datetime import UTC, datetime

from etl.notify.channels.channel import SendOutcome, SendResult
from etl.notify.failed_deliveries import DeliveryChanges, hurry_deferred, resend_unknown, retry_failed
from etl.notify.store import chunks
from tests.integration.notify.notice_harness import NoticeHarness, address


def failure(error_class: str) -> SendResult:
    return SendResult(0, SendOutcome.FAILED, error_class, "no")


def retry(post: NoticeHarness, run_id: int, *classes: str, dry_run: bool = False) -> DeliveryChanges:
    return retry_failed(run_id, error_classes=classes or None, as_of=datetime.now(UTC), db=post.db, dry_run=dry_run)


def resend(post: NoticeHarness, run_id: int) -> DeliveryChanges:
    return resend_unknown(run_id, as_of=datetime.now(UTC), db=post.db)


def hurry(post: NoticeHarness, run_id: int) -> DeliveryChanges:
    return hurry_deferred(run_id, error_classes=None, as_of=datetime.now(UTC), db=post.db)


def send_unfinished(post: NoticeHarness, run_id: int) -> None:
    post.send(run_id, chunks.list_unfinished(post.db, run_id))


def fail_some(post: NoticeHarness, users: int = 25) -> tuple[int, list[int]]:
    """Send a run in which users 3 and 14 fail with 421 and user 20 with 550; return its id and these users."""
    ids = post.enrol(users)
    failing = [ids[2], ids[13], ids[19]]
    post.mailbox.answers = {
        address(user): [failure(error_class)] for user, error_class in zip(failing, ("421", "421", "550"), strict=True)
    }
    planned = post.send_all()
    return planned.run_id, failing
