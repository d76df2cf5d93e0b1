"""Whoever was sent a message ends those of its category by the link in it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from etl.clients.smtp import Security
from etl.db.connection import Connection
from etl.declare.notice import Category, Consent
from etl.notify.channels.channel import Message
from etl.notify.channels.email import EmailConfig, EmailSender
from etl.notify.send import send
from etl.notify.unsubscribe import UnsubscribeResult, apply_unsubscribe
from etl.notify.unsubscribe_links import UnsubscribeLinkInvalid, UnsubscribeLinks
from etl.settings import LinkSettings
from tests.integration.clients.smtp_server import SmtpServer
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address

Rows = Callable[..., list[tuple[object, ...]]]
URL = "https://bank.example/unsubscribe"
LINKS = UnsubscribeLinks(LinkSettings(URL, "stop@bank.example", ("k" * 32,)))
SAID = "select user_id, category, granted from notify.consents"


@pytest.fixture
def mail_server(tmp_path: Path) -> Iterator[SmtpServer]:
    """Return a mail server."""
    with SmtpServer(Security.PLAIN, tmp_path / "unused") as started:
        yield started


@pytest.fixture
def user(post: NoticeHarness) -> int:
    """Return the only user, who is sent links."""
    post.links = LINKS
    (user,) = post.enrol(1)
    return user


def sent_by_mail(post: NoticeHarness, mail_server: SmtpServer) -> None:
    """Plan and send over the channel of every day."""
    extra = {"from_email": "Bank <news@bank.example>", "disable_ssl": True, "disable_tls": True}
    mailing = EmailConfig.from_connection(
        host=mail_server.mail_server().host, port=mail_server.port, login="", password="", extra=extra
    )
    channels = {"email": EmailSender(mailing)}
    run_id = post.plan().run_id
    send(post.notice, run_id, 0, db=post.db, limiter=post.limiter, senders=channels, links=post.links)


def test_a_received_mail_holds_the_link_in_headers_and_bodies_and_it_ends_what_it_says(
    post: NoticeHarness, mail_server: SmtpServer, user: int, rows: Rows
) -> None:
    sent_by_mail(post, mail_server)
    (mail,) = mail_server.inbox.mails
    url = LINKS.build(user, FAST.category).url
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert str(mail["List-Unsubscribe-Post"]) == "List-Unsubscribe=One-Click"
    links = str(mail["List-Unsubscribe"]).split(", ")
    assert links[0] == f"<{url}>"
    assert links[1].startswith("<mailto:stop@bank.example?subject=unsubscribe%20")
    assert f'href="{url}"' in html.get_content()
    assert f"To get no more such reports: {url}" in text.get_content().splitlines()
    assert apply_unsubscribe(links[0].strip("<>"), db=post.db, links=LINKS) == UnsubscribeResult(
        user, "reports", changed=True
    )
    assert rows(SAID) == [(user, "reports", False)]


def test_a_mailbox_that_is_not_there_is_not_written_to_again(
    post: NoticeHarness, mail_server: SmtpServer, rows: Rows
) -> None:
    (user,) = post.enrol(1)
    mail_server.inbox.unknown = {address(user)}
    sent_by_mail(post, mail_server)
    assert post.states() == {"failed": 1}
    assert rows("select ended_for from notify.contacts where ended_at is not null") == [("550",)]
    planned = post.send_all(period="2026-11")
    assert post.mailbox.arrived == []
    assert post.totals(planned.run_id)["unreachable"] == 1


def test_a_message_that_may_not_be_refused_has_no_link(post: NoticeHarness, mail_server: SmtpServer, user: int) -> None:
    post.notice = replace(FAST, category=Category("security", Consent.NONE))
    sent_by_mail(post, mail_server)
    (mail,) = mail_server.inbox.mails
    assert not [name for name in mail if name.startswith("List-")]
    assert "nsubscribe" not in mail.as_string()


def test_messages_that_can_be_refused_and_have_no_link_are_warned_of_once(
    post: NoticeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    post.enrol(30)
    with caplog.at_level(logging.WARNING):
        post.send_all()
        post.plan()
        post.links = LINKS
        post.plan("2026-11")
    (told,) = (record.message for record in caplog.records)
    assert told == (
        "monthly_report: its recipients may refuse reports, and its messages hold no link by which they do; set "
        "SLUICE_UNSUBSCRIBE_URL to where such links are to lead"
    )


def test_the_sample_of_a_plan_holds_the_links_that_will_be_sent(post: NoticeHarness, user: int) -> None:
    post.links = LINKS
    seen: list[str] = []

    class Words:
        def render(self, _medium: object, _values: object, *, unsubscribe_url: str = "") -> dict[str, str]:
            seen.append(unsubscribe_url)
            return {}

    post.plan(templates=Words())  # type: ignore[arg-type]
    assert seen == [LINKS.build(user, FAST.category).url]


def test_a_link_that_is_used_again_keeps_since_when(post: NoticeHarness, user: int, rows: Rows) -> None:
    link = LINKS.build(user, FAST.category).url
    assert apply_unsubscribe(link, db=post.db, links=LINKS).changed
    since = rows("select changed_at from notify.consents")
    assert not apply_unsubscribe(link, db=post.db, links=LINKS).changed
    assert rows("select changed_at from notify.consents") == since
    post.db.execute("update notify.consents set granted = true")
    assert apply_unsubscribe(link, db=post.db, links=LINKS).changed
    assert rows("select changed_at from notify.consents") > since
    assert rows(SAID) == [(user, "reports", False)]


def test_of_two_clicks_at_once_one_ends_it(
    post: NoticeHarness, user: int, connect: Callable[[], Connection], rows: Rows
) -> None:
    link = LINKS.build(user, FAST.category).url
    both = threading.Barrier(2)

    def click(db: Connection) -> bool:
        both.wait()
        return apply_unsubscribe(link, db=db, links=LINKS).changed

    with ThreadPoolExecutor(2) as clicks:
        assert sorted(clicks.map(click, [connect(), connect()])) == [False, True]
    assert rows(SAID) == [(user, "reports", False)]


def test_the_link_of_a_user_who_is_gone_ends_nothing_and_is_no_error(
    post: NoticeHarness, user: int, rows: Rows
) -> None:
    post.db.execute("delete from core.provider_accounts")
    post.db.execute("delete from core.users")
    link = LINKS.build(user, FAST.category).url
    assert apply_unsubscribe(link, db=post.db, links=LINKS) == UnsubscribeResult(user, "reports", changed=False)
    assert rows(SAID) == []


def test_a_forged_link_ends_nothing(post: NoticeHarness, user: int, rows: Rows) -> None:
    forged = UnsubscribeLinks(LinkSettings(URL, keys=("f" * 32,))).build(user, FAST.category).url
    with pytest.raises(UnsubscribeLinkInvalid):
        apply_unsubscribe(forged, db=post.db, links=LINKS)
    assert rows(SAID) == []


def test_whoever_unsubscribes_or_is_suppressed_while_a_run_goes_on_gets_nothing_more_of_it(
    post: NoticeHarness, rows: Rows
) -> None:
    post.links = LINKS
    post.notice = replace(FAST, pace=4, chunk_size=100)
    users = post.enrol(12)
    planned = post.plan()

    def meanwhile(_: Sequence[Message]) -> None:
        if len(post.mailbox.batch_sizes) == 1:
            apply_unsubscribe(LINKS.build(users[-1], FAST.category).url, db=post.db, links=LINKS)
            post.db.execute("insert into notify.suppressions values (%s, 'email', 'complained')", (address(users[-2]),))

    post.mailbox.after = meanwhile
    post.send(planned.run_id)
    assert set(post.mailbox.addresses) == set(map(address, users[:-2]))
    assert rows("select user_id, error_class from notify.deliveries where state = 'suppressed' order by 1") == [
        (users[-2], "suppressed_address"),
        (users[-1], "no_consent"),
    ]
