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

from etl.notify.channels.address import AddressMalformed, MailAddress, parse_address
from etl.notify.channels.channel import Message, MessageUnsendable
from etl.notify.channels.mime import MimeBuilder

AT = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
SKELETON = MimeBuilder(MailAddress("sluice@bank.example", "Slüice, “the” bank"))
PARTS = {"subject": "Your report", "text": "Hello\n", "html": "<p>Hello</p>\n"}
LINK = "https://bank.example/unsubscribe?token=abc"

BODIES = st.text(st.characters(codec="utf-8")) | st.text("=_-. \t\r\nab", max_size=200)
SUBJECTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=200)
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=80).map(
    lambda name: " ".join(name.split()) or "Joe"
)


def written(**changes: object) -> bytes:
    fields = {"delivery_id": 7, "address": "joe@home.example", "parts": PARTS} | changes
    return SKELETON.build(Message(**fields), sent_at=AT).content  # type: ignore[arg-type]


def read(content: bytes) -> EmailMessage:
    found = message_from_bytes(content, policy=default)
    assert found.defects == []
    return found


def unified(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def body(mail: EmailMessage, form: str) -> str:
    part = mail.get_body((form,))
    assert part is not None
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return unified(payload.decode())


@given(text=BODIES, html=BODIES.filter(bool))
@example(text=".\n..\nFrom me\n--=_sluice_\n", html="trailing \t\n. ")
@example(text="x" * 998 + "é" * 998, html="\0\x0b\x0c\x1c\x85\u2028")
def test_bodies_arrive_as_they_were_rendered(text: str, html: str) -> None:
    mail = read(written(parts={"subject": "", "text": text, "html": html}))
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert body(mail, "plain") == unified(text)
    assert body(mail, "html") == unified(html)


@given(text=BODIES)
def test_a_mail_without_html_has_one_part(text: str) -> None:
    mail = read(written(parts={"subject": "", "text": text}))
    assert mail.get_content_type() == "text/plain"
    assert body(mail, "plain") == unified(text) + "\n"


@given(subject=SUBJECTS)
@example(subject="=?utf-8?b?4pWz?=")
@example(subject=" padded ")
@example(subject="e\u0301" * 100)
def test_a_subject_arrives_as_it_was_rendered(subject: str) -> None:
    assert str(read(written(parts=PARTS | {"subject": subject}))["Subject"]) == subject


@given(name=NAMES)
def test_a_name_arrives_beside_its_address(name: str) -> None:
    skeleton = MimeBuilder(MailAddress("a@b.example", name))
    content = skeleton.build(Message(1, "joe@home.example", PARTS), sent_at=AT).content
    found, address = parseaddr(message_from_bytes(content, policy=compat32)["From"])
    assert (str(make_header(decode_header(found))), address) == (name, "a@b.example")


@given(text=BODIES, subject=SUBJECTS, name=NAMES)
def test_every_line_is_short_ascii_and_ended_by_crlf(text: str, subject: str, name: str) -> None:
    skeleton = MimeBuilder(MailAddress("a@b.example", name))
    parts = {"subject": subject, "text": text, "html": text}
    content = skeleton.build(Message(1, "joe@home.example", parts), sent_at=AT).content
    assert content.isascii()
    assert content.endswith(b"\r\n")
    lines = content.split(b"\r\n")
    assert not [line for line in lines if b"\n" in line or b"\r" in line]
    assert max(map(len, lines)) <= 78


def test_a_mail_says_who_sends_what_to_whom_and_when() -> None:
    mail = read(written(unsubscribe_url=LINK))
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


def test_a_mail_that_cannot_be_ended_has_no_link_to_end_it() -> None:
    assert not [name for name in read(written()) if name.startswith("List-") or name == "Precedence"]


def test_a_mail_that_asks_for_it_stands_beside_the_link_and_after_it() -> None:
    content = written(unsubscribe_url=LINK, unsubscribe_mailto="mailto:stop@bank.example?subject=abc")
    assert str(read(content)["List-Unsubscribe"]) == f"<{LINK}>, <mailto:stop@bank.example?subject=abc>"
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
def test_one_click_is_promised_only_for_a_link_by_https(changes: dict[str, str]) -> None:
    with pytest.raises(MessageUnsendable) as refused:
        written(**changes)
    assert refused.value.verdict.error_class == "LinkMalformed"


def test_a_mail_that_is_sent_again_keeps_its_id() -> None:
    later = SKELETON.build(Message(7, "joe@home.example", PARTS), sent_at=datetime(2026, 12, 1, tzinfo=UTC))
    assert read(later.content)["Message-ID"] == read(written())["Message-ID"]


@pytest.mark.parametrize("ending", ["\r\nBcc: eve@evil.example", "\n x", "\r", "\0", "\x7f"])
def test_a_header_cannot_be_injected(ending: str) -> None:
    for changes, error_class in (
        ({"parts": PARTS | {"subject": f"Hello{ending}"}}, "SubjectMalformed"),
        ({"address": f"joe@home.example{ending}"}, "AddressMalformed"),
        ({"address": f"Joe{ending} <joe@home.example>"}, "AddressMalformed"),
        ({"unsubscribe_url": LINK + ending}, "LinkMalformed"),
    ):
        with pytest.raises(MessageUnsendable) as refused:
            written(**changes)
        assert refused.value.verdict.error_class == error_class


def test_a_message_lacking_a_part_is_refused() -> None:
    with pytest.raises(MessageUnsendable, match="subject") as refused:
        written(parts={"text": "Hello"})
    assert refused.value.verdict.error_class == "PartMissing"


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(MessageUnsendable, match="surrogate"):
        written(parts=PARTS | {"text": "\ud800"})


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("joe@home.example", "joe@home.example", ""),
        ("  Joe Doe <joe+tag@home.example> ", "joe+tag@home.example", "Joe Doe"),
        ('"Doe, Joe" <joe@home.example>', "joe@home.example", "Doe, Joe"),
        ("o'brien_x@Home.Example", "o'brien_x@home.example", ""),
        ("ünal@straße.example", "ünal@xn--strae-oqa.example", ""),
        ("हिन्दी@उदाहरण.भारत", "हिन्दी@xn--p1b6ci4b4b3a.xn--h2brj9c", ""),
    ],
)
def test_an_address_is_read_with_its_name_and_its_domain_in_ascii(text: str, address: str, name: str) -> None:
    assert parse_address(text) == MailAddress(address, name)


@pytest.mark.parametrize(
    "text",
    [
        *("", "joe", "@home.example", "joe@", "joe doe@home.example", "a..b@home.example", ".a@home.example"),
        *("a@b@c.example", "joe@home..example", "joe@-home.example", "joe@home_.example", "joe@[127.0.0.1]"),
        *("a,b@c.example", "<joe@home.example", "joe@home.example>", "joe@home.example, eve@evil.example"),
        *("x" * 65 + "@home.example", "joe@" + "a." * 130 + "example", "joe@home.example.", "joe@home example"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(AddressMalformed) as refused:
        parse_address(text)
    assert "joe" not in str(refused.value)


@given(
    local=st.text(st.characters(codec=None), max_size=70) | st.text('joe.<>"@ \r\n\0', max_size=10),
    domain=st.text(st.characters(codec=None), max_size=70) | st.text("aé.-[]>。\u200d\r\n", max_size=10),
)
@example(local="joe", domain="xn--.example")
@example(local="joe", domain="\ud800")
@example(local="joe\ud800", domain="home.example")
def test_whatever_stands_there_no_address_breaks_out_of_a_command(local: str, domain: str) -> None:
    try:
        found = parse_address(f"{local}@{domain}")
    except AddressMalformed:
        return
    assert found.address.count("@") == 1
    assert found.domain.isascii()
    assert not set(found.address + found.display_name) & set('<>\r\n\0"')
    assert " " not in found.address


def test_only_an_address_that_is_not_ascii_before_its_at_needs_smtputf8() -> None:
    assert [parse_address(text).needs_smtputf8 for text in ("joe@straße.example", "jöe@home.example")] == [False, True]
