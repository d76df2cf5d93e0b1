"""Addresses that are one mailbox compare equal, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from etl.catalog.channels import EMAIL
from etl.db.connection import Connection
from etl.mail_address import AddressMalformed, parse_address
from etl.notify.store import suppressions
from tests.integration.notify.notice_harness import NoticeHarness

LETTERS = "abzAZ09-äÄößéÉñÑçøåÅžŽαΑωΩжЖяЯहिन本語日한국عرب"
LABELS = st.text(LETTERS, min_size=1, max_size=20)


def mailbox(db: Connection, address: str) -> str:
    ((value,),) = db.execute("select notify.mailbox('email', %s)", (address,)).fetchall()
    return str(value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(local=st.text("abJÖö.+", min_size=1, max_size=8), labels=st.lists(LABELS, min_size=1, max_size=3))
@example(local="joe", labels=["BÜCHER", "example"])
@example(local="joe", labels=["faß", "example"])
@example(local="joe", labels=["xn--bcher-kva", "EXAMPLE"])
def test_a_domain_is_the_same_in_unicode_and_in_ascii(db: Connection, local: str, labels: list[str]) -> None:
    domain = ".".join(labels)
    try:
        in_ascii = parse_address(f"{local}@{domain}").domain
    except AddressMalformed:
        mailbox(db, f"{local}@{domain}")
        return
    assert mailbox(db, f"{local}@{domain}") == mailbox(db, f"{local}@{in_ascii}")
    assert mailbox(db, f"{local}@{domain}").rpartition("@")[2] == in_ascii


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300))
def test_any_text_has_a_mailbox(db: Connection, text: str) -> None:
    assert mailbox(db, text) == mailbox(db, text)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("Joe@Home.example", "joe@home.EXAMPLE", True),
        ("joe@bücher.example", "JOE@XN--BCHER-KVA.example", True),
        ("joe@bücher。example", "joe@bücher.example", True),
        ("joe@ＢÜcher.example", "joe@bücher.example", True),
        ("joe@bu\u0308cher.example", "joe@bücher.example", True),
        ("jöe@home.example", "JÖE@home.example", True),
        ("joe@bücher.example", "joe@bucher.example", False),
        ("joe@home.example", "eve@home.example", False),
        ("joe@straße.example", "joe@strasse.example", False),
    ],
)
def test_only_the_same_mailbox_is_equal(db: Connection, one: str, other: str, *, is_same: bool) -> None:
    assert (mailbox(db, one) == mailbox(db, other)) is is_same


def test_addresses_of_other_channels_are_compared_as_they_are(db: Connection) -> None:
    assert db.execute("select notify.mailbox('push', 'Ab@C')").fetchall() == [("Ab@C",)]


@pytest.mark.parametrize("suppressed", ["joe@xn--bcher-kva.example", "Joe@BÜCHER.example"])
@pytest.mark.parametrize("contact", ["joe@bücher.example", "JOE@xn--BCHER-kva.example"])
def test_a_suppression_holds_for_every_way_of_writing_a_mailbox(
    post: NoticeHarness, suppressed: str, contact: str
) -> None:
    post.enrol(1)
    post.db.execute("update notify.contacts set address = %s", (contact,))
    suppressions.add(post.db, EMAIL, [(suppressed, "asked")])
    post.send_all()
    assert post.states() == {"suppressed": 1}
    assert suppressions.remove(post.db, EMAIL, contact)


def test_the_address_of_a_destination_is_found_for_each_channel(db: Connection) -> None:
    subscription = '{"endpoint": "https://Push.Example:443/x", "keys": {}}'
    query = "select notify.destination('email', 'joe@BÜCHER.example'), notify.destination('desktop', %s)"
    assert db.execute(query, (subscription,)).fetchall() == [("xn--bcher-kva.example", "push.example")]
