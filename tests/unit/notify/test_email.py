"""Mails as bytes, read back by the standard library's parser."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import compat32, default
from email.utils import parseaddr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.clients.mail import MailContent
from etl.clients.mime import MimeBuilder
from etl.mail_address import MailAddress
from etl.notify.channels.channel import Message, MessageUnsendable
from etl.notify.channels.email import build_mail

AT = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
BUILDER = MimeBuilder(MailAddress("sluice@bank.example", "Slüice, “the” bank"))
PARTS = {"subject": "Your report", "text": "Hello\n", "html": "<p>Hello</p>\n"}
LINK = "https://bank.example/unsubscribe?token=abc"

BODIES = st.text(st.characters(codec="utf-8")) | st.text("=_-. \t\r\nab", max_size=200)
SUBJECTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=200)
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=80).map(
    lambda name: " ".join(name.split()) or "Joe"
)


def build(**changes: object) -> bytes:
    fields = {"delivery_id": 7, "address": "joe@home.example", "parts": PARTS} | changes
    return build_mail(Message(**fields), BUILDER, sent_at=AT).content  # type: ignore[arg-type]


def parse(content: bytes) -> EmailMessage:
    mail = message_from_bytes(content, policy=default)
    assert mail.defects == []
    return mail


def normalize_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def body(mail: EmailMessage, form: str) -> str:
    part = mail.get_body((form,))
    assert part is not None
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return normalize_newlines(payload.decode())


@given(text=BODIES, html=BODIES.filter(bool))
@example(text=".\n..\nFrom me\n--=_sluice_\n", html="trailing \t\n. ")
@example(text="x" * 998 + "é" * 998, html="\0\x0b\x0c\x1c\x85\u2028")
def test_bodies_arrive_as_they_were_rendered(text: str, html: str) -> None:
    mail = parse(build(parts={"subject": "", "text": text, "html": html}))
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert body(mail, "plain") == normalize_newlines(text)
    assert body(mail, "html") == normalize_newlines(html)


@given(text=BODIES)
def test_a_mail_without_html_has_one_part(text: str) -> None:
    mail = parse(build(parts={"subject": "", "text": text}))
    assert mail.get_content_type() == "text/plain"
    assert body(mail, "plain") == normalize_newlines(text) + "\n"


@given(subject=SUBJECTS)
@example(subject="=?utf-8?b?4pWz?=")
@example(subject=" padded ")
@example(subject="e\u0301" * 100)
def test_a_subject_arrives_as_it_was_rendered_without_spaces_around_it(subject: str) -> None:
    assert str(parse(build(parts=PARTS | {"subject": subject}))["Subject"]) == subject.strip(" ")


@given(name=NAMES)
def test_sender_name_and_address_arrive_unchanged(name: str) -> None:
    builder = MimeBuilder(MailAddress("a@b.example", name))
    content = build_mail(Message(1, "joe@home.example", PARTS), builder, sent_at=AT).content
    display_name, address = parseaddr(message_from_bytes(content, policy=compat32)["From"])
    assert (str(make_header(decode_header(display_name))), address) == (name, "a@b.example")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("Sluice Bank", "Sluice Bank"),
        ("Sluice, Inc.", '"Sluice, Inc."'),
        ('The "Bank" \\', r'"The \"Bank\" \\"'),
        ("Slüice", "=?utf-8?b?U2zDvGljZQ==?="),
        ("=?utf-8?b?4pWz?=", "=?utf-8?b?PT91dGYtOD9iPzRwV3o/PQ==?="),
    ],
)
def test_a_sender_name_in_ascii_stays_readable(name: str, header: str) -> None:
    builder = MimeBuilder(MailAddress("a@b.example", name))
    content = build_mail(Message(1, "joe@home.example", PARTS), builder, sent_at=AT).content
    assert f"\r\nFrom: {header}\r\n <a@b.example>\r\n".encode() in content


@given(text=BODIES, subject=SUBJECTS, name=NAMES)
def test_every_line_is_short_ascii_and_ends_with_crlf(text: str, subject: str, name: str) -> None:
    builder = MimeBuilder(MailAddress("a@b.example", name))
    parts = {"subject": subject, "text": text, "html": text}
    content = build_mail(Message(1, "joe@home.example", parts), builder, sent_at=AT).content
    assert content.isascii()
    assert content.endswith(b"\r\n")
    lines = content.split(b"\r\n")
    assert not [line for line in lines if b"\n" in line or b"\r" in line]
    assert max(map(len, lines)) <= 78


def test_headers_name_sender_recipient_subject_date_and_unsubscribe_link() -> None:
    mail = parse(build(unsubscribe_url=LINK))
    assert {name: str(mail[name]) for name in mail if name not in ("From", "Content-Type")} == {
        "MIME-Version": "1.0",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "To": "joe@home.example",
        "Subject": "Your report",
        "Date": "Mon, 23 Nov 2026 12:30:00 +0000",
        "Message-ID": "<delivery.7@bank.example>",
        "List-Unsubscribe": f"<{LINK}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Precedence": "bulk",
    }
    assert mail["From"].addresses == (Address("Slüice, “the” bank", "sluice", "bank.example"),)


def test_mail_without_unsubscribe_link_has_no_list_headers() -> None:
    assert not [name for name in parse(build()) if name.startswith("List-") or name == "Precedence"]


def test_unsubscribe_mailto_follows_the_link() -> None:
    content = build(unsubscribe_url=LINK, unsubscribe_mailto="mailto:stop@bank.example?subject=abc")
    assert str(parse(content)["List-Unsubscribe"]) == f"<{LINK}>, <mailto:stop@bank.example?subject=abc>"
    assert content.count(b"List-Unsubscribe=One-Click") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"unsubscribe_url": "http://bank.example/unsubscribe"},
        {"unsubscribe_url": "mailto:stop@bank.example"},
        {"unsubscribe_url": LINK, "unsubscribe_mailto": "https://bank.example"},
        {"unsubscribe_url": LINK, "unsubscribe_mailto": "mailto:stop@bank.example>\r\nBcc: <eve@evil.example"},
    ],
)
def test_unsubscribe_links_must_be_https_and_mailto(changes: dict[str, str]) -> None:
    with pytest.raises(MessageUnsendable) as refused:
        build(**changes)
    assert refused.value.verdict.error_class == "LinkMalformed"


def test_resent_mail_keeps_its_message_id() -> None:
    later = build_mail(Message(7, "joe@home.example", PARTS), BUILDER, sent_at=datetime(2026, 12, 1, tzinfo=UTC))
    assert parse(later.content)["Message-ID"] == parse(build())["Message-ID"]


@pytest.mark.parametrize("ending", ["\r\nBcc: eve@evil.example", "\n x", "\r", "\0", "\x7f"])
def test_a_header_cannot_be_injected(ending: str) -> None:
    for changes, error_class in (
        ({"parts": PARTS | {"subject": f"Hello{ending}"}}, "SubjectMalformed"),
        ({"address": f"joe@home.example{ending}"}, "AddressMalformed"),
        ({"address": f"Joe{ending} <joe@home.example>"}, "AddressMalformed"),
        ({"unsubscribe_url": LINK + ending}, "LinkMalformed"),
    ):
        with pytest.raises(MessageUnsendable) as refused:
            build(**changes)
        assert refused.value.verdict.error_class == error_class


def test_a_message_lacking_a_part_is_refused() -> None:
    with pytest.raises(MessageUnsendable, match="subject") as refused:
        build(parts={"text": "Hello"})
    assert refused.value.verdict.error_class == "PartMissing"


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(MessageUnsendable, match="surrogate"):
        build(parts=PARTS | {"text": "\ud800"})


def test_threaded_mail_names_all_recipients_and_both_ids() -> None:
    recipients = [
        MailAddress("on-call@bank.example", "Dienst, “der”"),
        *(MailAddress(f"u{i}@b.example") for i in range(9)),
    ]
    content = BUILDER.build(
        MailContent("Late", "Hello\n", ""), recipients, message_id="late.run.1", thread_id="run.1", sent_at=AT
    ).content
    mail = parse(content)
    assert [address.addr_spec for address in mail["To"].addresses] == [each.address for each in recipients]
    assert (mail["Message-ID"], mail["References"]) == ("<late.run.1@bank.example>", "<run.1@bank.example>")
    assert max(map(len, content.split(b"\r\n"))) <= 78


def test_smtputf8_is_needed_only_for_a_non_ascii_local_part() -> None:
    mails = [
        build_mail(Message(7, address, PARTS), builder, sent_at=AT)
        for builder in (BUILDER, MimeBuilder(MailAddress("slüice@bank.example")))
        for address in ("joe@straße.example", "jöe@home.example")
    ]
    assert [mail.needs_smtputf8 for mail in mails] == [False, True, True, True]
