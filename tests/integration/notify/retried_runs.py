"""Runs of which something failed, and what the tests do about it."""

from __future__ import annotations

from datetime import UTC, datetime

from etl.notify import retry as reopen
from etl.notify.channels.channel import Outcome, Result
from etl.notify.retry import Reopened
from etl.notify.store import chunks
from tests.integration.notify.notice_harness import Post, address


def refusal(error_class: str) -> Result:
    return Result(0, Outcome.FAILED, error_class, "no")


def retry(post: Post, run_id: int, *classes: str, dry_run: bool = False) -> Reopened:
    return reopen.retry(
        run_id, classes=classes or None, as_of=datetime.now(UTC), warehouse=post.warehouse, dry_run=dry_run
    )


def resend(post: Post, run_id: int) -> Reopened:
    return reopen.resend(run_id, as_of=datetime.now(UTC), warehouse=post.warehouse)


def send_left(post: Post, run_id: int) -> None:
    post.send(run_id, chunks.unfinished(post.warehouse, run_id))


def fail_some(post: Post, users: int = 25) -> tuple[int, list[int]]:
    """Send to users of whom the 3rd and the 14th fail with 421 and the 20th with 550; return the run and them."""
    ids = post.enrol(users)
    failing = [ids[2], ids[13], ids[19]]
    post.mailbox.answers = {
        address(user): [refusal(why)] for user, why in zip(failing, ("421", "421", "550"), strict=True)
    }
    planned = post.send_all()
    return planned.run_id, failing
