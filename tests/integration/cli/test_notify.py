"""`python -m etl notify`."""

from __future__ import annotations

import json
from collections.abc import Callable
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from etl.db import locks
from etl.db.connection import Connection
from etl.notify.channels.channel import SendOutcome, SendResult
from etl.notify.store import runs
from etl.notify.store.runs import RunState
from tests.integration.cli.conftest import Command
from tests.integration.notify.notice_harness import NoticeHarness, address

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def post(post: NoticeHarness) -> NoticeHarness:
    """Return the steps of a notice, with a mailbox in memory, and twelve users."""
    post.enrol(12)
    return post


@pytest.fixture
def run_id(post: NoticeHarness) -> int:
    """Return a run of which one chunk of two was sent: of six, two failed, and of one nobody knows."""
    post.mailbox.answers = {
        address(2): [SendResult(0, SendOutcome.FAILED, "421", "later")],
        address(3): [SendResult(0, SendOutcome.FAILED, "550", "never")],
        address(4): [SendOutcome.UNKNOWN],
    }
    planned = post.plan()
    post.send(planned.run_id, [0])
    return planned.run_id


def in_one_line(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_status_lists_the_latest_runs(etl: Command, run_id: int) -> None:
    shown = etl("notify", "status").stdout
    assert "monthly_report" in shown
    assert [row["run_id"] for row in json.loads(etl("notify", "status", "--json").stdout)] == [run_id]


def test_status_shows_how_far_a_run_is_and_why_deliveries_failed(etl: Command, run_id: int) -> None:
    shown = etl("notify", "status", str(run_id)).stdout
    assert shown.startswith(f"monthly_report 2026-10, run {run_id}: running, at most 1000 messages a second\n")
    lines = [line.split() for line in shown.splitlines()]
    assert "50.0% 6 of 12 deliveries, 1 of 2 chunks" in in_one_line(shown)
    assert ["3", "sent"] in lines
    assert ["2", "failed"] in lines
    assert ["1", "421"] in lines
    assert ["1", "550"] in lines
    assert "messages a second over the last" in shown
    assert " left, until 20" in shown


def test_status_is_json_for_programs(etl: Command, run_id: int) -> None:
    told = json.loads(etl("notify", "status", str(run_id), "--json").stdout)
    assert {"state": "running", "deliveries": 12, "ended": 6, "sent": 3, "unknown": 1}.items() <= told.items()
    assert told["failures"] == {"421": 1, "550": 1}
    assert told["rate"] == pytest.approx(6 / told["rate_seconds"])


def test_status_follows_a_run_until_it_has_ended(etl: Command, post: NoticeHarness, run_id: int) -> None:
    runs.set_pace_or_state(post.db, run_id, state=RunState.CANCELLED)
    (line,) = etl("notify", "status", str(run_id), "--follow", "--json").stdout.splitlines()
    assert json.loads(line)["state"] == "cancelled"
    assert "--follow needs the run" in in_one_line(etl("notify", "status", "--follow").stderr)


def test_a_run_is_paused_resumed_given_another_pace_and_cancelled(etl: Command, run_id: int, rows: Rows) -> None:
    for words, found in (
        (["pause"], ("paused", 1_000)),
        (["resume"], ("running", 1_000)),
        (["pace", "2.5/s"], ("running", 2.5)),
        (["cancel"], ("cancelled", 2.5)),
    ):
        done = etl("notify", words[0], str(run_id), *words[1:])
        assert done.returncode == 0, done.stderr
        assert rows("select state, pace from notify.runs") == [found]


def test_a_run_that_has_ended_stays_as_it_is(etl: Command, run_id: int) -> None:
    etl("notify", "cancel", str(run_id))
    assert "is cancelled already, so nothing was changed" in in_one_line(etl("notify", "resume", str(run_id)).stderr)


def test_retry_says_how_many_of_which_class_and_how_to_send_them(
    etl: Command, post: NoticeHarness, run_id: int, rows: Rows
) -> None:
    told = etl("notify", "retry", str(run_id), "--dry-run").stdout.splitlines()
    assert told[0] == f"monthly_report 2026-10, run {run_id}: it would be 2 deliveries that failed, to be tried again"
    assert rows("select count(*) from notify.deliveries where state = 'reopened'") == [(0,)]
    done = etl("notify", "retry", str(run_id), "--error-class", "421")
    assert done.stdout.splitlines() == [
        f"monthly_report 2026-10, run {run_id}: 1 delivery that failed, to be tried again",
        "    421: 1",
        "Send them with",
        f"    airflow dags trigger notify_monthly_report --conf '{{\"run_id\": {run_id}}}'",
    ]
    post.send(run_id, [0, 1])
    assert post.states() == {"sent": 10, "failed": 1, "unknown": 1}


def test_only_what_failed_can_be_retried(etl: Command, run_id: int) -> None:
    for state, why in (
        ("expired", "a message that is of no use is not sent later"),
        ("suppressed", "no retry may pass over that"),
        ("unknown", "decide with `notify resolve`"),
        ("lost", "'lost' is no state of a delivery"),
    ):
        refused = etl("notify", "retry", str(run_id), "--state", state)
        assert refused.returncode == 2
        told = in_one_line(refused.stderr)
        assert "only what is `failed` can be retried: " in told
        assert why in told


def test_a_class_of_which_nothing_failed_is_a_sentence_that_names_those_of_which_something_did(
    etl: Command, run_id: int
) -> None:
    refused = in_one_line(etl("notify", "retry", str(run_id), "--error-class", "999").stderr)
    assert "nothing for 999 has failed, so nothing was changed; what failed: 421 (1), 550 (1)" in refused


def test_a_retry_where_a_sender_is_at_work_says_so_and_fails(
    etl: Command, run_id: int, connect: Callable[[], Connection]
) -> None:
    with locks.hold(connect(), f"notify.{run_id}.0"):
        refused = etl("notify", "retry", str(run_id))
    assert refused.returncode == 1
    assert "chunks that are being sent were left as they are: 0; try again when they have ended" in refused.stderr


def test_a_retry_of_a_run_that_was_cancelled_is_refused(etl: Command, run_id: int) -> None:
    etl("notify", "cancel", str(run_id))
    refused = etl("notify", "retry", str(run_id))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: monthly_report 2026-10: run {run_id} was cancelled, so nothing was")


def test_what_is_in_doubt_is_dropped_or_sent_again(etl: Command, run_id: int, rows: Rows) -> None:
    again = etl("notify", "resolve", str(run_id), "--unknown", "resend", "--dry-run").stdout
    assert again.startswith(f"monthly_report 2026-10, run {run_id}: it would be 1 delivery in doubt, to be sent")
    done = etl("notify", "resolve", str(run_id), "--unknown", "drop")
    assert done.stdout.splitlines()[0].endswith("1 delivery in doubt, given up: unknown for good")
    assert rows("select error_class from notify.deliveries where state = 'unknown'") == [("dropped",)]
    nothing = etl("notify", "resolve", str(run_id), "--unknown", "resend")
    assert nothing.stdout == f"run {run_id}: nothing is in doubt that nobody has decided on\n"


def test_plan_tells_what_a_run_would_do(etl: Command, post: NoticeHarness) -> None:
    assert etl("notify", "plan", "monthly_report", "--period", "2026-10").stdout.splitlines() == [
        "monthly_report 2026-10: 12 recipients in one chunk",
        "    email: 12 to send",
        "12 messages; at 500 a second they take at least 0:00:00",
    ]
    planned = post.plan()
    told = etl("notify", "plan", "monthly_report", "--period", "2026-10").stdout
    assert told.startswith(f"monthly_report 2026-10 was planned already: run {planned.run_id} is running\n")


def test_preview_shows_a_message_and_whether_it_would_be_sent(etl: Command, post: NoticeHarness, rows: Rows) -> None:
    post.db.execute("insert into notify.consents values (7, 'reports', false)")
    shown = etl("notify", "preview", "monthly_report", "--user", "7", "--period", "2026-10").stdout
    assert shown.startswith("monthly_report 2026-10 (not planned yet) to user 7, of 2026-10\n")
    assert f"email: would not be sent to {address(7)}: no consent\n" in shown
    assert "  subject: Your spending in October 2026\n" in shown
    assert "In October 2026 no money left your accounts." in shown
    assert rows("select count(*) from notify.deliveries") == [(0,)]


def test_preview_writes_what_would_be_handed_over(etl: Command, post: NoticeHarness, tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    options = ("--user", "7", "--period", "2026-10", "--to", str(folder))
    done = etl("notify", "preview", "monthly_report", *options)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in folder.iterdir()) == ["email.eml", "email.html", "email.txt"]
    mail = message_from_bytes((folder / "email.eml").read_bytes(), policy=default)
    assert (mail["To"], mail["Subject"]) == (address(7), "Your spending in October 2026")
    assert "In October 2026" in (folder / "email.txt").read_text()
    assert (folder / "email.html").read_text().startswith("<!doctype html>")


def test_what_a_user_got_is_found_by_period_and_by_key(etl: Command, run_id: int, db: Connection) -> None:
    (line,) = etl("notify", "deliveries", "--user", "2").stdout.splitlines()
    assert line.endswith(f" UTC  monthly_report 2026-10  email: failed (421), run {run_id}")
    db.execute("update notify.deliveries set dedupe_key = 'alert 7' where user_id = 2")
    assert etl("notify", "deliveries", "--user", "2").stdout.startswith("user 2 was told nothing for any period")
    options = ("--user", "2", "--notice", "monthly_report", "--key", "alert 7", "--json")
    (told,) = json.loads(etl("notify", "deliveries", *options).stdout)
    assert (told["key"], told["state"], told["error_class"]) == ("alert 7", "failed", "421")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("status", "99"), "error: there is no run 99 in notify.runs; `python -m etl notify status` lists them."),
        (("pace", "99", "fast"), "is no pace; write messages a second"),
        (("plan", "nothing"), "'nothing' is no notice; it is one of fraud_alert, low_balance, monthly_report"),
        (
            ("plan", "monthly_report", "--period", "2026-1"),
            "'2026-1' is no period of monthly_report; write it as",
        ),
        (("plan", "monthly_report", "--period", "2026-13"), "'2026-13' is no period of monthly_report"),
        (("plan", "monthly_report", "--parameters", "[1]"), "'[1]' is no JSON object; write names and values"),
        (("deliveries", "--user", "99"), "there is no user 99 in core.users, and no delivery to one"),
        (("preview", "monthly_report", "--user", "99"), "user 99 is not in its audience: there is no user of this id"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(
    etl: Command, post: NoticeHarness, arguments: tuple[str, ...], told: str
) -> None:
    refused = etl("notify", *arguments)
    assert refused.returncode in (1, 2)
    assert told in in_one_line(refused.stderr)
    assert "Traceback" not in refused.stderr
