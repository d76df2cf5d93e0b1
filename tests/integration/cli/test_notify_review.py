"""`sluice notify preview --sample`, `seed` and `users`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etl.clients.mail_server import Security
from etl.db.connection import Connection
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import LinkSettings
from tests.integration.cli.conftest import Command
from tests.integration.clients.smtp_server import SmtpServer
from tests.integration.notify.bank_data import find_provider_account, set_balance
from tests.integration.notify.notice_harness import enrol

Rows = Callable[..., list[tuple[object, ...]]]
GOOD_LINKS = {"SLUICE_UNSUBSCRIBE_URL": "https://bank.com/u", "SLUICE_LINK_KEYS": "k" * 32}
SENDER = {"AIRFLOW_CONN_NOTICES_EMAIL": json.dumps({"host": "mail", "extra": {"from_email": "news@bank.com"}})}


@pytest.fixture
def users(db: Connection) -> list[int]:
    """Return thirty users with low balances, the last of whom is Austrian."""
    ids = enrol(db, 30)
    for user in ids:
        db.execute("insert into notify.consents values (%s, 'balances', true)", (user,))
        set_balance(db, find_provider_account(db, user), "10")
    db.execute("update core.users set locale = 'de-AT', time_zone = 'Europe/Vienna' where user_id = %s", (ids[-1],))
    return ids


@pytest.fixture
def mail_server(tmp_path: Path) -> Iterator[SmtpServer]:
    """Return a mail server."""
    with SmtpServer(Security.PLAIN, tmp_path / "unused") as started:
        yield started


def test_a_sample_comes_from_all_over_the_audience_and_holds_each_language(
    etl: Command, users: list[int], tmp_path: Path, rows: Rows
) -> None:
    folder = tmp_path / "seen"
    result = etl("notify", "preview", "low_balance", "--sample", "3", "--out", str(folder), **GOOD_LINKS, **SENDER)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"4 recipients, no problems\n{folder}/index.html\n"
    page = (folder / "index.html").read_text()
    assert [user for user in users if f"User {user} " in page] == [*users[::10], users[-1]]
    assert "Niedriger Kontostand: 10,00 USD auf Everyday" in page
    for file in folder.glob("*/email.eml"):
        assert f'href="{file.parent.name}/{file.name}"' in page
    assert rows("select count(*) from notify.runs") == [(0,)]


@pytest.mark.usefixtures("users")
def test_problems_of_a_sample_make_the_exit_code_1(etl: Command) -> None:
    result = etl("notify", "preview", "low_balance", "--sample", "1", SLUICE_UNSUBSCRIBE_URL="")
    assert result.returncode == 1
    assert "email: headers: there is no List-Unsubscribe; set SLUICE_UNSUBSCRIBE_URL\n" in result.stdout
    as_json = etl("notify", "preview", "low_balance", "--sample", "1", "--json", SLUICE_UNSUBSCRIBE_URL="")
    assert as_json.returncode == 1
    recipients = json.loads(as_json.stdout)
    assert [recipient["locale"] for recipient in recipients] == [None, "de-AT"]
    assert any(message["problems"] for message in recipients[0]["messages"])


def test_a_preview_needs_a_user_or_a_sample_and_not_both(etl: Command) -> None:
    for options in ([], ["--user", "1", "--sample", "2"]):
        assert "give either --user or --sample" in etl("notify", "preview", "low_balance", *options).stderr


def test_staff_get_the_mails_of_recipients_who_get_nothing(
    etl: Command, users: list[int], rows: Rows, mail_server: SmtpServer
) -> None:
    extra = {"from_email": "news@bank.com", "disable_ssl": True, "disable_tls": True}
    server = {"conn_type": "smtp", "host": "127.0.0.1", "port": mail_server.port, "extra": extra}
    arguments = ("notify", "seed", "low_balance", "--to", "ann@bank.com, bob@bank.com")
    result = etl(*arguments, **GOOD_LINKS, AIRFLOW_CONN_NOTICES_EMAIL=json.dumps(server))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "4 of 4 test mails sent\n"
    mails = mail_server.inbox.mails
    assert Counter(str(mail["To"]) for mail in mails) == {"ann@bank.com": 2, "bob@bank.com": 2}
    assert {str(mail["Subject"]) for mail in mails} == {
        "[Test] Low balance: 10.00 USD in Everyday",
        "[Test] Niedriger Kontostand: 10,00 USD auf Everyday",
    }
    assert len({mail["Message-ID"] for mail in mails}) == len(mails)
    assert rows("select count(*) from notify.deliveries") == rows("select count(*) from notify.runs") == [(0,)]
    links = UnsubscribeLinks(LinkSettings("https://bank.com/u", keys=("k" * 32,)))
    assert {links.decode(str(mail["List-Unsubscribe"])).user_id for mail in mails}.isdisjoint(users)


@pytest.mark.usefixtures("users")
def test_a_malformed_address_of_staff_sends_nothing(etl: Command) -> None:
    result = etl("notify", "seed", "low_balance", "--to", "ann@bank.com,nobody", **GOOD_LINKS)
    assert result.returncode == 1
    assert result.stderr == "error: one of the addresses is malformed, so nothing was sent.\n"


def test_what_a_user_named_is_recorded_shown_and_forgotten(etl: Command, users: list[int]) -> None:
    user = f"user {users[0]}"
    assert etl("notify", "users", user).stdout == "locale: none, time zone: none\n"
    recorded = etl("notify", "users", user, "--locale", "DE_at", "--time-zone", "Europe/Vienna")
    assert recorded.stdout == "locale: de-AT, time zone: Europe/Vienna\n"
    assert json.loads(etl("notify", "users", user, "--locale", "", "--json").stdout) == {
        "locale": None,
        "time_zone": "Europe/Vienna",
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("eve",), "there is no user 'eve'"),
        (("user 1", "--locale", "xx"), "'xx' is no locale"),
        (("user 1", "--time-zone", "Vienna"), "'Vienna' is no time zone"),
    ],
)
@pytest.mark.usefixtures("users")
def test_what_does_not_exist_is_refused(etl: Command, arguments: tuple[str, ...], problem: str) -> None:
    result = etl("notify", "users", *arguments)
    assert result.returncode == 1
    assert problem in result.stderr
    assert result.stderr.endswith("so nothing was recorded.\n")


def test_a_file_is_recorded_except_its_invalid_lines(
    etl: Command, users: list[int], tmp_path: Path, rows: Rows
) -> None:
    first, second, third, *_ = users
    lines = [
        "user,locale,time_zone",
        f"user {first},de,",
        f'user {second},en-GB,"Europe/London',
        f"user {third},,Nowhere",
    ]
    file = tmp_path / "users.csv"
    file.write_text("\n".join([*lines, "eve,de,", f"user {first},fr-FR,Europe/Paris", f"user {second}"]))
    result = etl("notify", "users", "--file", str(file))
    assert result.returncode == 1
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["line 3", "line 4", "line 7", "line 5"]
    assert result.stdout == "2 changed, 0 as before, 4 invalid lines\n"
    assert rows(
        "select locale, time_zone from core.users where user_id = any(%s) order by user_id", [first, second]
    ) == [
        ("fr-FR", "Europe/Paris"),
        (None, None),
    ]
