"""`sluice notify`: runs of notices."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from etl.db import locks
from etl.db.connection import Connection
from etl.notify.channels.channel import SendOutcome, SendResult
from etl.notify.send import DeliveriesDeferred
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
    """Return a run of which one chunk of two was sent: of six deliveries, two failed and one is unknown."""
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
    output = etl("notify", "status").stdout
    assert "monthly_report" in output
    assert [row["run_id"] for row in json.loads(etl("notify", "status", "--json").stdout)] == [run_id]


def test_status_shows_how_far_a_run_is_and_why_deliveries_failed(etl: Command, run_id: int) -> None:
    output = etl("notify", "status", str(run_id)).stdout
    assert output.startswith(f"monthly_report 2026-10, run {run_id}: running, at most 1000 messages a second\n")
    lines = [line.split() for line in output.splitlines()]
    assert "50.0% 6 of 12 deliveries, 1 of 2 chunks" in in_one_line(output)
    assert ["3", "sent"] in lines
    assert ["2", "failed"] in lines
    assert ["1", "421"] in lines
    assert ["1", "550"] in lines
    assert "messages a second over the last" in output
    assert " left, until 20" in output


def test_status_is_json_for_programs(etl: Command, run_id: int) -> None:
    document = json.loads(etl("notify", "status", str(run_id), "--json").stdout)
    assert {"state": "running", "deliveries": 12, "ended": 6, "sent": 3, "unknown": 1}.items() <= document.items()
    assert document["failures"] == {"421": 1, "550": 1}
    assert document["rate"] == pytest.approx(6 / document["rate_seconds"])
    assert isinstance(document["left_seconds"], float)


def test_status_follows_a_run_until_it_has_ended(etl: Command, post: NoticeHarness, run_id: int) -> None:
    runs.set_pace_or_state(post.db, run_id, state=RunState.CANCELLED)
    (line,) = etl("notify", "status", str(run_id), "--follow", "--json").stdout.splitlines()
    assert json.loads(line)["state"] == "cancelled"
    assert "--follow needs the run" in in_one_line(etl("notify", "status", "--follow").stderr)


def test_a_run_is_paused_resumed_given_another_pace_and_cancelled(etl: Command, run_id: int, rows: Rows) -> None:
    for arguments, expected in (
        (["pause"], ("paused", 1_000)),
        (["resume"], ("running", 1_000)),
        (["pace", "2.5/s"], ("running", 2.5)),
        (["cancel"], ("cancelled", 2.5)),
    ):
        result = etl("notify", arguments[0], str(run_id), *arguments[1:])
        assert result.returncode == 0, result.stderr
        assert rows("select state, pace from notify.runs") == [expected]


def test_a_run_that_has_ended_stays_as_it_is(etl: Command, run_id: int) -> None:
    etl("notify", "cancel", str(run_id))
    assert "is cancelled already, so nothing was changed" in in_one_line(etl("notify", "resume", str(run_id)).stderr)


def test_retry_says_how_many_of_which_class_and_how_to_send_them(
    etl: Command, post: NoticeHarness, run_id: int, rows: Rows
) -> None:
    lines = etl("notify", "retry", str(run_id), "--dry-run").stdout.splitlines()
    assert lines[0] == f"monthly_report 2026-10, run {run_id}: would reopen 2 failed deliveries"
    assert rows("select count(*) from notify.deliveries where state = 'deferred'") == [(0,)]
    result = etl("notify", "retry", str(run_id), "--error-class", "421")
    assert result.stdout.splitlines() == [
        f"monthly_report 2026-10, run {run_id}: reopened 1 failed delivery",
        "    421: 1",
        "Send them with",
        f"    airflow dags trigger notify_monthly_report --conf '{{\"run_id\": {run_id}}}'",
    ]
    post.send(run_id, [0, 1])
    assert post.states() == {"sent": 10, "failed": 1, "unknown": 1}


def test_status_lists_what_waits_and_a_retry_lets_it_be_due_now(etl: Command, post: NoticeHarness, rows: Rows) -> None:
    wait = timedelta(hours=2)
    answer = SendResult(0, SendOutcome.DEFERRED, "450", "greylisted", destination="bank.example", retry_after=wait)
    post.mailbox.answers = {address(2): [answer], address(3): [answer]}
    run_id = post.plan().run_id
    with pytest.raises(DeliveriesDeferred):
        post.send(run_id)
    output = etl("notify", "status", str(run_id)).stdout
    assert ["2", "deferred", "wait", "for", "another", "try"] in [line.split() for line in output.splitlines()]
    assert re.search(r"\n    2  retry, bank\.example, 450; next at 20\S+ \S+ UTC\n", output + "\n")
    document = json.loads(etl("notify", "status", str(run_id), "--json").stdout)
    (group,) = document["deferrals"]
    assert {"reason": "retry", "destination": "bank.example", "deliveries": 2}.items() <= group.items()
    assert document["left_seconds"] > timedelta(hours=1.9).total_seconds()
    hint = etl("notify", "retry", str(run_id), "--state", "deferred").stderr
    assert "`notify retry --deferred` lets them be due now" in in_one_line(hint)
    would = etl("notify", "retry", str(run_id), "--deferred", "--dry-run").stdout
    assert would.startswith(f"monthly_report 2026-10, run {run_id}: would hurry 2 deferred deliveries\n    450: 2\n")
    assert rows("select count(*) from notify.deferrals where not_before <= now()") == [(0,)]
    done = etl("notify", "retry", str(run_id), "--deferred", "--error-class", "450").stdout
    assert done.splitlines() == [
        f"monthly_report 2026-10, run {run_id}: hurried 2 deferred deliveries",
        "    450: 2",
        "Their tasks send them within five minutes.",
    ]
    post.send(run_id, [0])
    assert post.states() == {"sent": 6}
    nothing = etl("notify", "retry", str(run_id), "--deferred").stderr
    assert f"run {run_id}: no delivery is deferred, so nothing was changed" in in_one_line(nothing)


def test_a_retry_is_json_for_programs(etl: Command, run_id: int) -> None:
    expected: dict[str, object] = {
        "run_id": run_id,
        "notice": "monthly_report",
        "period": "2026-10",
        "dry_run": True,
        "deliveries": {"421": 1, "550": 1},
        "total": 2,
        "busy_chunks": [],
        "next_command": None,
    }
    assert json.loads(etl("notify", "retry", str(run_id), "--dry-run", "--json").stdout) == expected
    document = json.loads(etl("notify", "retry", str(run_id), "--error-class", "421", "--json").stdout)
    command = f"airflow dags trigger notify_monthly_report --conf '{{\"run_id\": {run_id}}}'"
    assert document == {**expected, "dry_run": False, "deliveries": {"421": 1}, "total": 1, "next_command": command}


def test_only_what_failed_can_be_retried(etl: Command, run_id: int) -> None:
    for state, reason in (
        ("expired", "an expired message is never sent"),
        ("suppressed", "a retry does not override that"),
        ("unknown", "decide with `notify resolve`"),
        ("lost", "'lost' is no state of a delivery"),
    ):
        refused = etl("notify", "retry", str(run_id), "--state", state)
        assert refused.returncode == 2
        message = in_one_line(refused.stderr)
        assert "only `failed` deliveries can be retried: " in message
        assert reason in message


def test_an_error_class_without_failures_is_refused_with_those_that_have_some(etl: Command, run_id: int) -> None:
    refused = in_one_line(etl("notify", "retry", str(run_id), "--error-class", "999").stderr)
    assert (
        "no delivery failed with 999, so nothing was changed; failed deliveries by error class: 421 (1), 550 (1)"
        in refused
    )


def test_a_retry_skips_and_reports_chunks_that_are_being_sent(
    etl: Command, run_id: int, connect: Callable[[], Connection]
) -> None:
    with locks.hold(connect(), f"notify.{run_id}.0"):
        result = etl("notify", "retry", str(run_id), "--json")
    assert result.returncode == 1
    assert result.stderr == "skipped the chunks that are being sent: 0; try again when they have ended\n"
    assert json.loads(result.stdout)["busy_chunks"] == [0]


def test_a_retry_of_a_run_that_was_cancelled_is_refused(etl: Command, run_id: int) -> None:
    etl("notify", "cancel", str(run_id))
    refused = etl("notify", "retry", str(run_id))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: monthly_report 2026-10: run {run_id} was cancelled, so nothing was")


def test_an_unknown_delivery_is_dropped_or_sent_again(etl: Command, run_id: int, rows: Rows) -> None:
    dry_run = etl("notify", "resolve", str(run_id), "--unknown", "resend", "--dry-run").stdout
    assert dry_run.startswith(f"monthly_report 2026-10, run {run_id}: would reopen 1 unknown delivery\n")
    result = etl("notify", "resolve", str(run_id), "--unknown", "drop")
    assert result.stdout.splitlines()[0] == f"monthly_report 2026-10, run {run_id}: dropped 1 unknown delivery"
    assert rows("select error_class from notify.deliveries where state = 'unknown'") == [("dropped",)]
    nothing = etl("notify", "resolve", str(run_id), "--unknown", "resend")
    assert nothing.stdout == f"run {run_id}: no unknown delivery needs a decision\n"
    document = json.loads(etl("notify", "resolve", str(run_id), "--unknown", "resend", "--json").stdout)
    assert (document["total"], document["deliveries"], document["next_command"]) == (0, {}, None)


def test_plan_estimates_a_run(etl: Command, post: NoticeHarness) -> None:
    assert etl("notify", "plan", "monthly_report", "--period", "2026-10").stdout.splitlines() == [
        "monthly_report 2026-10: 12 recipients in one chunk",
        "    email: 12 to send",
        "12 messages; at 500 a second they take at least 0:00:00",
    ]
    expected: dict[str, object] = {
        "notice": "monthly_report",
        "period": "2026-10",
        "run_id": None,
        "state": None,
        "pace": 500,
        "recipients": 12,
        "chunks": 1,
        "smallest_chunk": 12,
        "largest_chunk": 12,
        "dispositions": {"email": {"to_send": 12}},
        "messages": 12,
        "min_duration_seconds": 0.024,
        "waits_until": None,
        "unknown_zones": 0,
        "needs_approval": False,
    }
    options = ("monthly_report", "--period", "2026-10")
    assert json.loads(etl("notify", "plan", *options, "--json").stdout) == expected
    planned = post.plan()
    output = etl("notify", "plan", *options).stdout
    assert output.startswith(f"monthly_report 2026-10 was planned already: run {planned.run_id} is running\n")
    document = json.loads(etl("notify", "plan", *options, "--json").stdout)
    assert (document["run_id"], document["state"]) == (planned.run_id, "running")


def test_preview_shows_a_message_and_whether_it_would_be_sent(etl: Command, post: NoticeHarness, rows: Rows) -> None:
    post.db.execute("insert into notify.consents values (7, 'reports', false)")
    output = etl("notify", "preview", "monthly_report", "--user", "7", "--period", "2026-10").stdout
    assert output.startswith("monthly_report 2026-10 (not planned yet) to user 7, dedupe key 2026-10\n")
    assert f"email: would not be sent to {address(7)}: no consent\n" in output
    assert "  subject: Your money in October 2026\n" in output
    assert "No money moved on your accounts in October 2026." in output
    assert rows("select count(*) from notify.deliveries") == [(0,)]


def test_a_preview_is_json_for_programs(etl: Command, post: NoticeHarness, tmp_path: Path) -> None:
    post.db.execute("insert into notify.consents values (7, 'reports', false)")
    options = ("monthly_report", "--user", "7", "--period", "2026-10", "--json")
    document = json.loads(etl("notify", "preview", *options).stdout)
    (message,) = document.pop("messages")
    assert document == {
        "notice": "monthly_report",
        "period": "2026-10",
        "run_id": None,
        "state": None,
        "user_id": 7,
        "dedupe_key": "2026-10",
        "other_messages": 0,
    }
    assert message["parts"].keys() == {"subject", "text", "html"}
    assert "No money moved on your accounts in October 2026." in message.pop("parts")["text"]
    assert message == {
        "channel": "email",
        "address": address(7),
        "would_be_sent": False,
        "blocking_reason": "no consent",
        "files": [],
    }
    (written,) = json.loads(etl("notify", "preview", *options, "--to", str(tmp_path)).stdout)["messages"]
    assert sorted(written["files"]) == sorted(map(str, tmp_path.iterdir()))
    assert len(written["files"]) == 3


def test_preview_writes_the_messages_as_they_would_be_sent(etl: Command, post: NoticeHarness, tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    options = ("--user", "7", "--period", "2026-10", "--to", str(folder))
    result = etl("notify", "preview", "monthly_report", *options)
    assert result.returncode == 0, result.stderr
    assert sorted(file.name for file in folder.iterdir()) == ["email.eml", "email.html", "email.txt"]
    mail = message_from_bytes((folder / "email.eml").read_bytes(), policy=default)
    assert (mail["To"], mail["Subject"]) == (address(7), "Your money in October 2026")
    assert "in October 2026" in (folder / "email.txt").read_text()
    assert (folder / "email.html").read_text().startswith("<!doctype html>")


def test_deliveries_of_a_user_are_found_by_period_and_by_dedupe_key(etl: Command, run_id: int, db: Connection) -> None:
    (line,) = etl("notify", "deliveries", "--user", "2").stdout.splitlines()
    assert line.endswith(f" UTC  monthly_report 2026-10  email: failed (421), run {run_id}")
    db.execute("update notify.deliveries set dedupe_key = 'alert 7' where user_id = 2")
    assert etl("notify", "deliveries", "--user", "2").stdout.startswith("user 2 got no message for any period")
    options = ("--user", "2", "--notice", "monthly_report", "--key", "alert 7", "--json")
    (delivery,) = json.loads(etl("notify", "deliveries", *options).stdout)
    assert (delivery["key"], delivery["state"], delivery["error_class"]) == ("alert 7", "failed", "421")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status", "99"), "error: there is no run 99 in notify.runs; `sluice notify status` lists them."),
        (("pace", "99", "fast"), "is no pace; write messages a second"),
        (("plan", "nothing"), "'nothing' is no notice; it is one of fraud_alert, low_balance, monthly_report"),
        (
            ("plan", "monthly_report", "--period", "2026-1"),
            "'2026-1' is no period of monthly_report; write it in the format '%Y-%m', such as",
        ),
        (("plan", "monthly_report", "--period", "2026-13"), "'2026-13' is no period of monthly_report"),
        (("plan", "monthly_report", "--parameters", "[1]"), "'[1]' is no JSON object; write names and values"),
        (("deliveries", "--user", "99"), "there is no user 99 in core.users, and no delivery to one"),
        (("preview", "monthly_report", "--user", "99"), "user 99 is not in its audience: there is no user of this id"),
    ],
)
def test_invalid_input_is_reported_in_one_sentence(
    etl: Command, post: NoticeHarness, arguments: tuple[str, ...], message: str
) -> None:
    refused = etl("notify", *arguments)
    assert refused.returncode in (1, 2)
    assert message in in_one_line(refused.stderr)
    assert "Traceback" not in refused.stderr


def test_status_names_who_refuses_messages_since_when_and_the_next_try(
    etl: Command, post: NoticeHarness, run_id: int
) -> None:
    post.db.execute(
        "insert into notify.breakers (notice_id, channel, destination, state, opened_at, probe_at, reason) "
        "select notice_id, 'email', 'ill.example', 'open', '2026-11-01 08:00+00', '2026-11-01 08:15+00', '550 blocked' "
        "from notify.notices"
    )
    output = in_one_line(etl("notify", "status", str(run_id)).stdout)
    assert "email to ill.example, since 2026-11-01 08:00:00 UTC, next try at 2026-11-01 08:15:00 UTC" in output
    document = json.loads(etl("notify", "status", str(run_id), "--json").stdout)
    assert [breaker["reason"] for breaker in document["breakers"]] == ["550 blocked"]


def test_resuming_a_held_run_lets_everything_be_tried_again(etl: Command, run_id: int, rows: Rows) -> None:
    rows("update notify.runs set state = 'held', is_refused = true, reason = 'email: 550 blocked' returning run_id")
    rows("update notify.breakers set state = 'open', opened_at = now(), probe_at = now() returning channel")
    assert "email: 550 blocked" in etl("notify", "status", str(run_id)).stdout
    assert etl("notify", "resume", str(run_id)).returncode == 0
    assert rows("select state, is_refused, reason from notify.runs") == [("running", False, "")]
    assert rows("select * from notify.breakers") == []


def test_after_a_restore_a_run_is_held_told_what_was_sent_and_trusted(
    etl: Command, post: NoticeHarness, tmp_path: Path
) -> None:
    run_id = post.plan().run_id
    assert in_one_line(etl("notify", "restored").stdout).startswith(
        "1 run is held, and no run is planned or sent until"
    )
    told = tmp_path / "told.txt"
    told.write_text(f"{address(1).upper()}\n\n{address(2)}\n")
    output = etl("notify", "mark-sent", "--addresses", str(told), "--run", str(run_id)).stdout
    assert output.splitlines()[-1] == f"Run {run_id}: 2 deliveries after the backup, now sent."
    assert "give either" in in_one_line(etl("notify", "mark-sent").stderr)
    assert "is no time" in in_one_line(etl("notify", "trust", "--since", "yesterday").stderr)
    lines = etl("notify", "trust", "--since", "2026-11-24T06:00").stdout.splitlines()
    assert lines[0].startswith("Trusted since 2026-11-24 06:00 UTC.")
    assert lines[-1] == f"  sluice notify resume {run_id}    # monthly_report 2026-10"
    assert "was not restored, or that was confirmed before" in in_one_line(
        etl("notify", "trust", "--since", "now").stderr
    )
    assert etl("notify", "resume", str(run_id)).returncode == 0
    post.send(run_id, [0, 1])
    assert len(post.mailbox.arrived) == 10
