"""Parsing and validation of mail addresses for contacts, servers and headers."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.mail_address import AddressMalformed, MailAddress, is_contact_address, parse_address, parse_addresses


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("joe@home.example", "joe@home.example", ""),
        ("  Joe Doe <joe+tag@home.example> ", "joe+tag@home.example", "Joe Doe"),
        ('"Doe, Joe" <joe@home.example>', "joe@home.example", "Doe, Joe"),
        ("o'brien_x@Home.Example", "o'brien_x@home.example", ""),
        ("ünal@straße.example", "ünal@xn--strae-oqa.example", ""),
        ("joe@ab--cd.example", "joe@ab--cd.example", ""),
        ("joe@AB--cd.straße.example ", "joe@ab--cd.xn--strae-oqa.example", ""),
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
        *("joe@home-.example", "joe@xn--.example", "joe@" + "a" * 64 + ".example", "joe@xn--\u00fc.example"),
    ],
)
def test_a_malformed_address_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(AddressMalformed) as raised:
        parse_address(text)
    assert "joe" not in str(raised.value)


@given(
    local=st.text(st.characters(codec=None), max_size=70) | st.text('joe.<>"@ \r\n\0', max_size=10),
    domain=st.text(st.characters(codec=None), max_size=70) | st.text("aé.-[]>。\u200d\r\n", max_size=10),
)
@example(local="joe", domain="xn--.example")
@example(local="joe", domain="\ud800")
@example(local="joe\ud800", domain="home.example")
def test_no_accepted_address_can_break_out_of_an_smtp_command(local: str, domain: str) -> None:
    try:
        parsed = parse_address(f"{local}@{domain}")
    except AddressMalformed:
        return
    assert parsed.address.count("@") == 1
    assert parsed.domain.isascii()
    assert not set(parsed.address + parsed.display_name) & set('<>\r\n\0"')
    assert " " not in parsed.address


def test_a_list_of_addresses_is_split_at_commas_outside_of_quotes() -> None:
    assert parse_addresses(' joe@home.example,, "Doe, Joe" <doe@home.example>\n,') == (
        MailAddress("joe@home.example"),
        MailAddress("doe@home.example", "Doe, Joe"),
    )
    assert parse_addresses("") == ()
    with pytest.raises(AddressMalformed):
        parse_addresses('joe@home.example, "Doe <doe@home.example>')


@given(text=st.from_regex(r"[a.é_-]{0,5}@?[a.é。-]{0,5}[ <>,;\n\u200d]?", fullmatch=True) | st.text(max_size=20))
@example(text="a..b@home.example")
@example(text="joe@-home.example")
@example(text="joe@home_.example")
@example(text="joe@homé。example")
@example(text="x" * 64 + "@" + "a." * 100 + "example")
def test_an_address_that_is_accepted_for_a_contact_can_be_sent_to(text: str) -> None:
    if is_contact_address(text):
        address = parse_address(text)
        assert address.display_name == ""
        assert "." in address.domain
        assert len(address.address.encode()) <= 254


@pytest.mark.parametrize("text", ["joe@localhost", "Joe <joe@home.example>", "<joe@home.example>"])
def test_some_addresses_are_valid_in_a_connection_but_not_for_a_contact(text: str) -> None:
    assert parse_address(text).address
    assert not is_contact_address(text)


@pytest.mark.parametrize("text", [" joe@home.example", "joe@home.example  "])
def test_spaces_around_an_address_do_not_count(text: str) -> None:
    assert is_contact_address(text)
    assert parse_address(text) == MailAddress("joe@home.example")


@pytest.mark.parametrize("text", [" " * 40_000 + "x", "a " * 20_000, '"' + "a" * 40_000, "a." * 20_000 + "@"])
def test_a_long_text_is_refused_without_being_read(text: str) -> None:
    def measure(address: str) -> float:
        started = time.process_time()
        for _ in range(10):
            with pytest.raises(AddressMalformed):
                parse_address(address)
        return time.process_time() - started

    assert min(measure(text * 2) for _ in range(3)) < 3 * min(measure(text) for _ in range(3)) + 0.01
