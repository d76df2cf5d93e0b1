"""`sluice notify unsubscribe`, `consents`, `suppress`, `unsuppress` and `suppressed`."""

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


def test_a_link_unsubscribes_its_user_with_the_link_key_alone(etl: Command, user: int, rows: Rows) -> None:
    link = (
        UnsubscribeLinks(LinkSettings("https://bank.example/u", keys=(KEY,))).build(user, MONTHLY_REPORT.category).url
    )
    for outcome in (
        "gets no more messages of the category reports",
        "unsubscribed from the category reports before, or does not exist",
    ):
        result = etl("notify", "unsubscribe", link, SLUICE_LINK_KEYS=KEY, SLUICE_KEYS="")
        assert result.stdout == f"user {user} {outcome}\n", result.stderr
    assert rows("select user_id, category, granted from notify.consents") == [(user, "reports", False)]


def test_a_forged_link_is_refused_without_showing_it(etl: Command, user: int, rows: Rows) -> None:
    result = etl("notify", "unsubscribe", "https://bank.example/u?token=" + "ab" * 31)
    assert result.returncode == 1
    assert result.stderr.startswith("error: this is no link to unsubscribe that was sent from here;")
    assert "abab" not in result.stderr
    assert rows("select count(*) from notify.consents") == [(0,)]


def test_the_answers_of_a_user_are_shown_and_recorded(etl: Command, user: int) -> None:
    reference = f"user {user}"
    assert etl("notify", "consents", reference).stdout == "No answer is recorded.\n"
    assert etl("notify", "consents", reference, "reports", "no").stdout.startswith("reports: no, since 20")
    (record,) = json.loads(etl("notify", "consents", reference, "--json").stdout)
    assert (record["category"], record["granted"]) == ("reports", False)
    assert etl("notify", "consents", reference, "reports", "yes").stdout.startswith("reports: yes, since 20")


def test_an_unknown_user_or_category_is_refused(etl: Command, user: int, rows: Rows) -> None:
    assert "there is no user 'eve'" in etl("notify", "consents", "eve").stderr
    refused = etl("notify", "consents", f"user {user}", "nonsense", "no")
    assert "no notice has a category 'nonsense' that can be refused" in " ".join(refused.stderr.split())
    assert rows("select count(*) from notify.consents") == [(0,)]


def test_an_address_is_suppressed_listed_and_unsuppressed(etl: Command) -> None:
    assert etl("notify", "suppress", "Joe@home.example", "--reason", "asked").stdout == "suppressed\n"
    assert etl("notify", "suppress", "joe@home.example", "--reason", "bounced").stdout.startswith(
        "was suppressed before"
    )
    output = etl("notify", "suppressed").stdout
    assert output.startswith("email, asked: 1\n    20")
    assert output.endswith("  email  asked  joe@home.example\n")
    document = json.loads(etl("notify", "suppressed", "--address", "JOE@home.example", "--json").stdout)
    assert document["tallies"] == [{"channel": "email", "reason": "asked", "addresses": 1}]
    assert document["latest"][0].keys() == {"address", "channel", "reason", "since"}
    assert etl("notify", "suppressed", "--reason", "bounced").stdout == "No such address is suppressed.\n"
    assert etl("notify", "unsuppress", "joe@HOME.example").stdout == "gets messages again\n"
    assert etl("notify", "unsuppress", "joe@home.example").returncode == 1


def test_a_file_is_suppressed_except_its_invalid_lines_which_are_reported(
    etl: Command, tmp_path: Path, rows: Rows
) -> None:
    file = tmp_path / "bounces.csv"
    file.write_text("a@home.example,complained\nnobody\nb@home.example\n")
    result = etl("notify", "suppress", "--file", str(file), "--reason", "bounced")
    assert (result.returncode, result.stderr) == (1, "line 2: not a valid email address\n")
    assert result.stdout == "2 suppressed, 0 suppressed before, 1 invalid lines\n"
    assert rows("select address, reason from notify.suppressions order by 1") == [
        ("a@home.example", "complained"),
        ("b@home.example", "bounced"),
    ]


def test_nothing_is_suppressed_without_a_reason_or_with_both_an_address_and_a_file(etl: Command, rows: Rows) -> None:
    assert "the reason must have 1 to 100 printable characters" in etl("notify", "suppress", "joe@home.example").stderr
    assert "give either an address or --file" in etl("notify", "suppress", "a@b.example", "--file", "/dev/null").stderr
    assert "give either an address or --file" in etl("notify", "suppress").stderr
    assert rows("select count(*) from notify.suppressions") == [(0,)]
