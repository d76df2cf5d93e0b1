"""`sluice notify bounces`, and `sluice contacts show`, `end` and `revive`."""

from __future__ import annotations

import json
import mailbox
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from etl.db.connection import Connection
from etl.notify.bounces.return_path import ReturnPaths
from etl.settings import ReturnPathSettings
from tests.integration.cli.conftest import Command
from tests.integration.notify.notice_harness import address, enrol
from tests.unit.notify.bounces.reports import complaint, delivery_report, out_of_office

Rows = Callable[..., list[tuple[object, ...]]]
KEY = "k" * 32
SETTINGS = {"SLUICE_RETURN_PATH": "bounce@bank.example", "SLUICE_LINK_KEYS": KEY}
PATHS = ReturnPaths(ReturnPathSettings("bounce@bank.example", (KEY,)))
BOUNCES = "select delivery_id, kind::text from notify.bounces order by 1"


@pytest.fixture
def users(db: Connection) -> list[int]:
    """Return users who have got a mail: that of the delivery with their number."""
    users = enrol(db, 3)
    db.execute("insert into notify.notices (name) values ('monthly_report')")
    db.execute(
        "insert into notify.runs (notice_id, period, trigger, as_of, parameters, pace) "
        "values (1, '2026-10', 'scheduled', now(), '{}', 1)"
    )
    db.execute(
        "insert into notify.deliveries (user_id, run_id, channel, state, notice_id, ordinal, attempt, dedupe_key) "
        "select u, 1, 'email', 'sent', 1, 0, 1, '2026-10' from unnest(%s::bigint[]) as u",
        (users,),
    )
    return users


def mails(users: list[int]) -> list[bytes]:
    return [
        delivery_report(to=PATHS.build(users[0])),
        complaint(mail_from=PATHS.build(users[1])),
        out_of_office(PATHS.build(users[2])),
        b"\xff\0 no mail at all",
        delivery_report(to=PATHS.build(users[0])),
    ]


@pytest.fixture
def pipe(environment: Mapping[str, str]) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Return a function that pipes a mail into the command, as a mail server does."""

    def run(content: bytes, **changes: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "etl", "notify", "bounces", "-"],
            env={**environment, **SETTINGS, **changes},
            input=content,
            capture_output=True,
            check=False,
            timeout=60,
        )

    return run


def test_the_mails_of_a_maildir_are_recorded_once_and_those_not_matched_are_flagged(
    etl: Command, users: list[int], rows: Rows, tmp_path: Path
) -> None:
    folder = mailbox.Maildir(tmp_path / "Maildir")
    for content in mails(users):
        folder.add(content)
    result = etl("notify", "bounces", "--maildir", str(tmp_path / "Maildir"), **SETTINGS)
    assert result.stdout == (
        "2 recorded (1 complaint, 1 hard), 1 recorded before, 2 not matched; 0 addresses ended\n"
    ), result.stderr
    reasons = [line.partition(": ")[2] for line in result.stderr.splitlines()]
    assert reasons == ["it is no delivery report and no complaint"] * 2
    assert rows(BOUNCES) == [(users[0], "hard"), (users[1], "complaint")]
    assert rows("select address from notify.suppressions") == [(address(users[1]),)]
    flags = sorted(mailbox.MaildirMessage(message).get_flags() for message in mailbox.Maildir(tmp_path / "Maildir"))
    assert flags == ["FS", "FS", "S", "S", "S"]
    again = etl("notify", "bounces", "--maildir", str(tmp_path / "Maildir"), "--json", **SETTINGS)
    assert json.loads(again.stdout) == {"recorded": {}, "repeated": 0, "unmatched": 0, "addresses_ended": 0}


def test_an_mbox_is_read_as_often_as_one_likes_and_not_changed(
    etl: Command, users: list[int], rows: Rows, tmp_path: Path
) -> None:
    path = tmp_path / "bounces"
    box = mailbox.mbox(path)
    for content in mails(users):
        box.add(content)
    box.close()
    before = path.read_bytes()
    for recorded, repeated in ((2, 1), (0, 3)):
        document = json.loads(etl("notify", "bounces", "--mbox", str(path), "--json", **SETTINGS).stdout)
        assert (sum(document["recorded"].values()), document["repeated"]) == (recorded, repeated)
    assert rows(BOUNCES) == [(users[0], "hard"), (users[1], "complaint")]
    assert path.read_bytes() == before
    path.write_text("no mbox")
    assert "is no mbox" in etl("notify", "bounces", "--mbox", str(path), **SETTINGS).stderr


def test_a_piped_mail_is_recorded_or_taken_and_asked_for_again_only_if_that_may_help(
    pipe: Callable[..., subprocess.CompletedProcess[bytes]], users: list[int], rows: Rows
) -> None:
    envelope = b"From MAILER-DAEMON Mon Nov 30 08:00:00 2026\n"
    assert pipe(envelope + delivery_report(to=PATHS.build(users[0])) + b"x" * 3_000_000).returncode == 0
    assert rows(BOUNCES) == [(users[0], "hard")]
    unmatched = pipe(out_of_office("bounce@bank.example"))
    assert (unmatched.returncode, unmatched.stderr) == (0, b"the mail: it is no delivery report and no complaint\n")
    nobody_answers = json.dumps({"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "schema": "x"})
    assert pipe(mails(users)[1], AIRFLOW_CONN_WAREHOUSE=nobody_answers).returncode == 75
    assert pipe(mails(users)[1], SLUICE_RETURN_PATH="nonsense").returncode == 75


def test_a_source_of_mails_is_required(etl: Command, tmp_path: Path) -> None:
    for arguments in ((), ("-", "--maildir", str(tmp_path)), ("file",)):
        assert "give either --maildir, --mbox or -" in etl("notify", "bounces", *arguments).stderr
    assert "is no Maildir" in etl("notify", "bounces", "--maildir", str(tmp_path), **SETTINGS).stderr


def test_an_address_is_shown_ended_and_revived_with_who_and_why(etl: Command, users: list[int]) -> None:
    user = users[0]
    assert etl("contacts", "end", address(user).upper(), "--reason", "moved", USER="ann", LOGNAME="ann").stdout == (
        "1 addresses ended, 0 had ended before\n"
    )
    assert (
        etl("contacts", "end", f"user {user}", "--reason", "twice").stdout == "0 addresses ended, 1 had ended before\n"
    )
    shown = etl("contacts", "show", f"user {user}").stdout
    assert shown.startswith(f"user user {user}, email {address(user)}: ended 20")
    assert " UTC (moved)\n" in shown
    assert shown.endswith("  ended by ann: moved\n")
    dry = etl("contacts", "revive", "--since", "2026-01-01", "--dry-run")
    assert dry.stdout == "email, moved: 1\n1 addresses would be revived\n", dry.stderr
    assert etl("contacts", "revive", "--since", "2026-01-01", "--reason", "550").stdout == "0 addresses revived\n"
    revived = etl("contacts", "revive", f"user {user}", "--because", "came back", "--json")
    assert json.loads(revived.stdout) == {
        "changed": 1,
        "by_reason": [{"channel": "email", "ended_for": "moved", "addresses": 1}],
    }
    (contact,) = json.loads(etl("contacts", "show", address(user), "--json").stdout)
    assert contact["ended_at"] is None
    assert [(event["event"], event["reason"]) for event in contact["events"]] == [
        ("revived", "came back"),
        ("ended", "moved"),
    ]


def test_what_was_said_against_an_address_is_shown(etl: Command, users: list[int], tmp_path: Path) -> None:
    folder = mailbox.Maildir(tmp_path / "Maildir")
    folder.add(delivery_report(to=PATHS.build(users[0])))
    etl("notify", "bounces", "--maildir", str(tmp_path / "Maildir"), **SETTINGS)
    shown = etl("contacts", "show", address(users[0])).stdout
    assert shown.endswith(f"  hard, reported: 5.1.1 550 5.1.1 …: user unknown (not judged yet; delivery {users[0]})\n")


def test_whom_a_command_means_must_be_known(etl: Command, users: list[int]) -> None:
    assert "no user has this id or this address" in etl("contacts", "show", "nobody@x.example").stderr
    assert "say whom to revive" in etl("contacts", "revive").stderr
    assert "write 1 to 200 printable characters" in etl("contacts", "end", f"user {users[0]}", "--reason", " ").stderr
