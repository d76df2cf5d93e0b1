"""`sluice notify` on runs of announcements."""

from __future__ import annotations

import pytest

from etl.notify.announce import plan_announcement
from etl.notify.channels.channel import SendOutcome, SendResult
from tests.integration.cli.conftest import Command
from tests.integration.notify.notice_harness import NoticeHarness, address

KEY = "[/b] :fire: [red]"


@pytest.fixture
def post(post: NoticeHarness) -> NoticeHarness:
    """Return the steps of a notice, with a mailbox in memory, and three users."""
    post.enrol(3)
    return post


@pytest.fixture
def run_id(post: NoticeHarness) -> int:
    """Return a run that was announced to users 1 and 2, by a key that looks like markup."""
    return plan_announcement(post.notice, [1, 2], KEY, {"month": ":fire:", "currencies": []}, db=post.db).run_id


def in_one_line(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_status_shows_a_key_as_it_is(etl: Command, run_id: int) -> None:
    for arguments in ((), (str(run_id),)):
        result = etl("notify", "status", *arguments)
        assert f"key:{KEY}" in result.stdout, result.stderr


def test_preview_and_plan_show_an_announcement_and_its_recipients(etl: Command, run_id: int) -> None:
    options = ("monthly_report", "--period", f"key:{KEY}")
    estimate = etl("notify", "plan", *options).stdout
    assert f"monthly_report key:{KEY} was planned already: run {run_id} is running\n" in estimate
    assert "2 recipients in one chunk\n    email: 2 to send\n" in estimate
    preview = etl("notify", "preview", *options, "--user", "2").stdout
    assert preview.startswith(f"monthly_report key:{KEY} (run {run_id}, running) to user 2, dedupe key key:{KEY}\n")
    assert f"email: would be sent to {address(2)}\n  subject: Your money in :fire:\n" in preview
    assert "user 3 is not in its audience" in etl("notify", "preview", *options, "--user", "3").stderr


def test_a_retry_of_an_announcement_uses_the_urgent_queue(etl: Command, post: NoticeHarness, run_id: int) -> None:
    post.mailbox.answers = {address(1): [SendResult(0, SendOutcome.FAILED, "421", "later")]}
    post.send(run_id)
    lines = etl("notify", "retry", str(run_id)).stdout.splitlines()
    assert lines[-1].strip() == f"airflow dags trigger notify_now --conf '{{\"run_id\": {run_id}}}'"


def test_a_key_that_was_never_announced_is_not_shown_as_a_run_to_everybody(etl: Command, run_id: int) -> None:
    result = etl("notify", "plan", "monthly_report", "--period", "key:another")
    assert "nothing was announced under 'another'" in in_one_line(result.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "fraud_alert", "--parameters", '{"factor": "x"}'),
        ("plan", "fraud_alert", "--parameters", '{"factor": NaN}'),
        ("plan", "fraud_alert", "--parameters", '{"floors": {"USD": "x"}}'),
        ("plan", "fraud_alert", "--parameters", '{"floors": {"a\\u0000": 1}}'),
        ("plan", "fraud_alert", "--parameters", '{"days": 1e99}'),
        ("plan", "fraud_alert", "--parameters", '{"days": null}'),
        ("plan", "monthly_report", "--period", "0001-13"),
        ("plan", "low_balance", "--period", "2026-02-30"),
        ("preview", "fraud_alert", "--user", "1", "--period", "key:\udcff"),
        ("preview", "fraud_alert", "--user", "1", "--parameters", '{"days": "\\ud800"}'),
        ("deliveries", "--user", "1", "--key", "\udcff"),
        ("status", "-5"),
        ("pace", "1", "٣/s"),
        ("retry", "1", "--error-class", "\udcff"),
        ("consents", "\udcff"),
        ("suppressed", "--address", "\udcff"),
        ("unsuppress", "\udcff"),
        ("suppressed", "--limit", "99999999999999999999"),
        ("send", "fraud_alert", "--user", "99999999999999999999", "--key", "k"),
    ],
)
def test_wrong_input_never_ends_in_a_traceback(etl: Command, run_id: int, arguments: tuple[str, ...]) -> None:
    result = etl("notify", *arguments, AIRFLOW_CONN_AIRFLOW_API='{"conn_type": "http", "host": "http://localhost:1"}')
    assert "Traceback" not in result.stderr, result.stderr[-1000:]


@pytest.mark.parametrize("pace", ["1" * 400, "0.000000000000001/s", "2000000"])
def test_a_pace_that_no_sender_could_keep_is_refused(etl: Command, run_id: int, pace: str) -> None:
    result = etl("notify", "pace", str(run_id), pace)
    assert "0.001 to 1,000,000 messages a second, or 0" in in_one_line(result.stderr)
