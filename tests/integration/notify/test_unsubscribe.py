"""A recipient unsubscribes from a category by the link in a message."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from etl.clients.mail_server import Security
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
CONSENTS = "select user_id, category, granted from notify.consents"


@pytest.fixture
def mail_server(tmp_path: Path) -> Iterator[SmtpServer]:
    """Return a mail server."""
    with SmtpServer(Security.PLAIN, tmp_path / "unused") as started:
        yield started


@pytest.fixture
def user(post: NoticeHarness) -> int:
    """Return the only user, whose messages hold links."""
    post.links = LINKS
    (user,) = post.enrol(1)
    return user


def send_by_mail(post: NoticeHarness, mail_server: SmtpServer) -> None:
    """Plan a run, and send it through the real e-mail channel."""
    extra = {"from_email": "Bank <news@bank.example>", "disable_ssl": True, "disable_tls": True}
    config = EmailConfig.from_connection(
        host=mail_server.mail_server().host, port=mail_server.port, login="", password="", extra=extra
    )
    senders = {"email": EmailSender(config)}
    run_id = post.plan().run_id
    send(post.notice, run_id, 0, db=post.db, limiter=post.limiter, senders=senders, links=post.links)


def test_received_mail_holds_the_link_in_headers_and_bodies_and_the_link_unsubscribes(
    post: NoticeHarness, mail_server: SmtpServer, user: int, rows: Rows
) -> None:
    send_by_mail(post, mail_server)
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
    assert rows(CONSENTS) == [(user, "reports", False)]


def test_what_a_server_says_of_an_unknown_mailbox_is_recorded(
    post: NoticeHarness, mail_server: SmtpServer, rows: Rows
) -> None:
    (user,) = post.enrol(1)
    mail_server.inbox.unknown = {address(user)}
    send_by_mail(post, mail_server)
    assert post.states() == {"failed": 1}
    assert rows("select user_id, destination, kind::text, source, status, detail from notify.bounces") == [
        (user, "bank.example", "hard", "server", "550", "5.1.1 no such mailbox")
    ]


def test_message_of_a_mandatory_category_has_no_link(post: NoticeHarness, mail_server: SmtpServer, user: int) -> None:
    post.notice = replace(FAST, category=Category("security", Consent.NONE))
    send_by_mail(post, mail_server)
    (mail,) = mail_server.inbox.mails
    assert not [name for name in mail if name.startswith("List-")]
    assert "nsubscribe" not in mail.as_string()


def test_missing_unsubscribe_url_is_logged_once(post: NoticeHarness, caplog: pytest.LogCaptureFixture) -> None:
    post.enrol(30)
    with caplog.at_level(logging.WARNING):
        post.send_all()
        post.plan()
        post.links = LINKS
        post.plan("2026-11")
    (warning,) = (record.message for record in caplog.records)
    assert warning == (
        "monthly_report: its recipients may refuse reports, but its messages have no unsubscribe link; set "
        "SLUICE_UNSUBSCRIBE_URL to the page that handles such links"
    )


def test_plan_renders_its_sample_with_the_links_that_will_be_sent(post: NoticeHarness, user: int) -> None:
    post.links = LINKS
    rendered_urls: list[str] = []

    class RecordingTemplates:
        locales = ("en",)

        def render(self, *_: object, unsubscribe_url: str = "", **__: object) -> dict[str, str]:
            rendered_urls.append(unsubscribe_url)
            return {}

    post.plan(templates=RecordingTemplates())  # type: ignore[arg-type]
    assert rendered_urls == [LINKS.build(user, FAST.category).url]


def test_second_use_of_a_link_keeps_the_time_of_the_first(post: NoticeHarness, user: int, rows: Rows) -> None:
    link = LINKS.build(user, FAST.category).url
    assert apply_unsubscribe(link, db=post.db, links=LINKS).changed
    since = rows("select changed_at from notify.consents")
    assert not apply_unsubscribe(link, db=post.db, links=LINKS).changed
    assert rows("select changed_at from notify.consents") == since
    post.db.execute("update notify.consents set granted = true")
    assert apply_unsubscribe(link, db=post.db, links=LINKS).changed
    assert rows("select changed_at from notify.consents") > since
    assert rows(CONSENTS) == [(user, "reports", False)]


def test_only_one_of_two_concurrent_clicks_changes_the_consent(
    post: NoticeHarness, user: int, connect: Callable[[], Connection], rows: Rows
) -> None:
    link = LINKS.build(user, FAST.category).url
    both = threading.Barrier(2)

    def click(db: Connection) -> bool:
        both.wait()
        return apply_unsubscribe(link, db=db, links=LINKS).changed

    with ThreadPoolExecutor(2) as clicks:
        assert sorted(clicks.map(click, [connect(), connect()])) == [False, True]
    assert rows(CONSENTS) == [(user, "reports", False)]


def test_link_of_a_deleted_user_changes_nothing_without_an_error(post: NoticeHarness, user: int, rows: Rows) -> None:
    post.db.execute("delete from core.provider_accounts")
    post.db.execute("delete from core.users")
    link = LINKS.build(user, FAST.category).url
    assert apply_unsubscribe(link, db=post.db, links=LINKS) == UnsubscribeResult(user, "reports", changed=False)
    assert rows(CONSENTS) == []


def test_forged_link_changes_nothing(post: NoticeHarness, user: int, rows: Rows) -> None:
    forged = UnsubscribeLinks(LinkSettings(URL, keys=("f" * 32,))).build(user, FAST.category).url
    with pytest.raises(UnsubscribeLinkInvalid):
        apply_unsubscribe(forged, db=post.db, links=LINKS)
    assert rows(CONSENTS) == []


def test_user_unsubscribed_or_suppressed_during_a_run_gets_nothing_more(post: NoticeHarness, rows: Rows) -> None:
    post.links = LINKS
    post.notice = replace(FAST, pace=4, chunk_size=100)
    users = post.enrol(12)
    planned = post.plan()

    def unsubscribe_and_suppress(_: Sequence[Message]) -> None:
        if len(post.mailbox.batch_sizes) == 1:
            apply_unsubscribe(LINKS.build(users[-1], FAST.category).url, db=post.db, links=LINKS)
            post.db.execute("insert into notify.suppressions values (%s, 'email', 'complained')", (address(users[-2]),))

    post.mailbox.after = unsubscribe_and_suppress
    post.send(planned.run_id)
    assert set(post.mailbox.addresses) == set(map(address, users[:-2]))
    assert rows("select user_id, error_class from notify.deliveries where state = 'suppressed' order by 1") == [
        (users[-2], "suppressed_address"),
        (users[-1], "no_consent"),
    ]
