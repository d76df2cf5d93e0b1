"""`python -m etl notify unsubscribe`, `consents`, `suppress`, `unsuppress` and `suppressed`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.db.connection import Connection
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import LinkSettings
from tests.integration.cli.conftest import Command
from tests.integration.notify.notice_harness import enrol

Rows = Callable[..., list[tuple[object, ...]]]
KEY = "k" * 32


@pytest.fixture
def user(db: Connection) -> int:
    (user,) = enrol(db, 1)
    return user


def test_a_link_ends_what_it_says_with_the_key_of_links_alone(etl: Command, user: int, rows: Rows) -> None:
    link = (
        UnsubscribeLinks(LinkSettings("https://bank.example/u", keys=(KEY,))).build(user, MONTHLY_REPORT.category).url
    )
    for told in ("gets nothing more", "is gone, or got nothing before,"):
        done = etl("notify", "unsubscribe", link, SLUICE_LINK_KEYS=KEY, SLUICE_KEYS="")
        assert done.stdout == f"user {user} {told} of the category reports\n", done.stderr
    assert rows("select user_id, category, granted from notify.consents") == [(user, "reports", False)]


def test_a_forged_link_is_refused_without_showing_it(etl: Command, user: int, rows: Rows) -> None:
    done = etl("notify", "unsubscribe", "https://bank.example/u?token=" + "ab" * 31)
    assert done.returncode == 1
    assert done.stderr.startswith("error: this is no link to unsubscribe that was sent from here;")
    assert "abab" not in done.stderr
    assert rows("select count(*) from notify.consents") == [(0,)]


def test_what_a_user_said_is_shown_and_written_down(etl: Command, user: int) -> None:
    named = f"user {user}"
    assert etl("notify", "consents", named).stdout == "They said nothing.\n"
    assert etl("notify", "consents", named, "reports", "no").stdout.startswith("reports: no, since 20")
    (said,) = json.loads(etl("notify", "consents", named, "--json").stdout)
    assert (said["category"], said["granted"]) == ("reports", False)
    assert etl("notify", "consents", named, "reports", "yes").stdout.startswith("reports: yes, since 20")


def test_a_user_or_a_category_that_nobody_knows_is_refused(etl: Command, user: int, rows: Rows) -> None:
    assert "there is no user 'eve'" in etl("notify", "consents", "eve").stderr
    refused = etl("notify", "consents", f"user {user}", "nonsense", "no")
    assert "no notice has a category 'nonsense' that can be refused" in " ".join(refused.stderr.split())
    assert rows("select count(*) from notify.consents") == [(0,)]


def test_an_address_is_suppressed_listed_and_let_go(etl: Command) -> None:
    assert etl("notify", "suppress", "Joe@home.example", "--reason", "asked").stdout == "suppressed\n"
    assert etl("notify", "suppress", "joe@home.example", "--reason", "bounced").stdout.startswith(
        "was suppressed before"
    )
    shown = etl("notify", "suppressed").stdout
    assert shown.startswith("email, asked: 1\n    20")
    assert shown.endswith("  email  asked  joe@home.example\n")
    found = json.loads(etl("notify", "suppressed", "--address", "JOE@home.example", "--json").stdout)
    assert found["tallies"] == [{"channel": "email", "reason": "asked", "addresses": 1}]
    assert etl("notify", "suppressed", "--reason", "bounced").stdout == "No such address is suppressed.\n"
    assert etl("notify", "unsuppress", "joe@HOME.example").stdout == "gets messages again\n"
    assert etl("notify", "unsuppress", "joe@home.example").returncode == 1


def test_a_file_is_suppressed_but_for_its_bad_lines_which_are_named(etl: Command, tmp_path: Path, rows: Rows) -> None:
    file = tmp_path / "bounces.csv"
    file.write_text("a@home.example,complained\nnobody\nb@home.example\n")
    done = etl("notify", "suppress", "--file", str(file), "--reason", "bounced")
    assert (done.returncode, done.stderr) == (1, "line 2: no address of email\n")
    assert done.stdout == "2 suppressed, 0 were before, 1 lines are wrong\n"
    assert rows("select address, reason from notify.suppressions order by 1") == [
        ("a@home.example", "complained"),
        ("b@home.example", "bounced"),
    ]


def test_nothing_is_suppressed_without_a_reason_or_with_both_an_address_and_a_file(etl: Command, rows: Rows) -> None:
    assert "no reason of 1 to 100 characters" in etl("notify", "suppress", "joe@home.example").stderr
    assert "give either an address or --file" in etl("notify", "suppress", "a@b.example", "--file", "/dev/null").stderr
    assert "give either an address or --file" in etl("notify", "suppress").stderr
    assert rows("select count(*) from notify.suppressions") == [(0,)]
