"""Reports are read as their standards say, and no mail makes the reader fail."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.notify.bounces.read import MAX_BYTES, read_report
from etl.notify.bounces.report import ReportInvalid, classify
from etl.notify.bounces.store.bounces import BounceKind
from tests.unit.notify.bounces.reports import complaint, delivery_report, out_of_office

SIGNED = "bounce+7.abcdefghijklmnop@bank.example"


def test_a_delivery_report_names_its_recipient_status_mail_and_return_path() -> None:
    report = read_report(delivery_report(to=SIGNED, return_path="x@y.example", delivery_id=7))
    assert (report.kind, report.status) == (BounceKind.HARD, "5.1.1")
    assert report.recipients == ("joe@home.example",)
    assert report.return_paths == (SIGNED, "<x@y.example>")
    assert report.message_ids == ("<delivery.7@bank.example>",)
    assert not report.is_authentic


def test_what_is_kept_of_a_diagnostic_is_one_line_without_addresses() -> None:
    report = read_report(delivery_report())
    assert report.detail == "550 5.1.1 …: user unknown"


def test_an_internationalised_report_is_read_whatever_its_encoding() -> None:
    fields = delivery_report(
        recipient=r"utf-8; j\x{F6}@h\x{F6}me.example", status_type="message/global-delivery-status"
    )
    assert read_report(fields).recipients == ("jö@höme.example",)
    in_utf8 = delivery_report(recipient="utf-8; jö@höme.example", status_type="message/global-delivery-status")
    assert read_report(in_utf8).recipients == ("jö@höme.example",)
    head, _, rest = in_utf8.partition(b"Reporting-MTA")
    block, _, tail = rest.partition(b"\r\n--b\r\n")
    encoded = b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(b"Reporting-MTA" + block)
    assert read_report(head.removesuffix(b"\r\n") + encoded + b"\r\n--b\r\n" + tail).recipients == ("jö@höme.example",)


@pytest.mark.parametrize("headers_type", ["text/rfc822-headers", "message/rfc822", "message/global-headers"])
def test_the_message_id_of_the_returned_mail_is_found(headers_type: str) -> None:
    assert read_report(delivery_report(headers_type=headers_type, delivery_id=9)).message_ids == (
        "<delivery.9@bank.example>",
    )


@pytest.mark.parametrize(
    ("status", "diagnostic", "kind", "kept"),
    [
        ("5.1.1", "", BounceKind.HARD, "5.1.1"),
        ("5.0.0", "smtp; 550 5.1.1 no such user", BounceKind.HARD, "5.1.1"),
        ("5.2.1", "", BounceKind.HARD, "5.2.1"),
        ("5.1.10", "", BounceKind.HARD, "5.1.10"),
        ("5.2.2", "552 5.2.2 over quota", BounceKind.SOFT, "5.2.2"),
        ("4.2.2", "", BounceKind.SOFT, "4.2.2"),
        ("4.4.7", "", BounceKind.SOFT, "4.4.7"),
        ("5.4.4", "", BounceKind.SOFT, "5.4.4"),
        ("4.0.0", "", BounceKind.SOFT, "4.0.0"),
        ("5.2.3", "message too large", BounceKind.POLICY, "5.2.3"),
        ("5.7.1", "550 5.7.1 spam", BounceKind.POLICY, "5.7.1"),
        ("4.7.0", "", BounceKind.POLICY, "4.7.0"),
        ("5.0.0", "", BounceKind.POLICY, "5.0.0"),
        ("5.3.4", "", BounceKind.POLICY, "5.3.4"),
        ("", "550 rejected", BounceKind.POLICY, "550"),
        ("", "450 try again", BounceKind.SOFT, "450"),
        ("", "", BounceKind.SOFT, ""),
        ("", "host 10.5.1.1 said no", BounceKind.SOFT, ""),
        ("2.0.0", "550 5.1.1 x", BounceKind.HARD, "5.1.1"),
    ],
)
def test_only_codes_about_the_address_are_hard_and_refusals_of_the_message_are_policy(
    status: str, diagnostic: str, kind: BounceKind, kept: str
) -> None:
    assert classify(status, diagnostic) == (kind, kept)


def test_a_complaint_names_the_return_path_and_the_recipient() -> None:
    report = read_report(complaint(mail_from=SIGNED, delivery_id=7))
    assert (report.kind, report.status) == (BounceKind.COMPLAINT, "abuse")
    assert report.return_paths[0] == f"<{SIGNED}>"
    assert report.recipients == ("joe@home.example",)
    assert report.message_ids == ("<delivery.7@bank.example>",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (out_of_office(SIGNED), "it is no delivery report and no complaint"),
        (delivery_report(action="delayed", status="4.4.1"), "it reports no failure, but delayed"),
        (delivery_report(action="relayed", status="2.1.5"), "it reports no failure, but relayed"),
        (complaint(feedback_type="not-spam"), "it is feedback of the type 'not-spam', and no complaint"),
        (complaint(feedback_type="auth-failure"), "it is feedback of the type 'auth-failure', and no complaint"),
        (b"", "it is no delivery report and no complaint"),
        (b"Content-Type: multipart/mixed; boundary=a\n\n" * 40, "it has too many parts"),
    ],
)
def test_a_mail_that_reports_no_failure_and_no_complaint_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ReportInvalid) as refused:
        read_report(content)
    assert str(refused.value) == reason


def test_a_report_within_the_returned_mail_is_not_believed() -> None:
    inner = delivery_report().decode()
    mail = f"Content-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: message/rfc822\n\n{inner}\n--c--\n"
    with pytest.raises(ReportInvalid):
        read_report(mail.encode())


def test_a_huge_mail_is_read_only_at_its_beginning() -> None:
    huge = delivery_report(delivery_id=7) + b"x\n" * 5_000_000
    started = time.process_time()
    assert read_report(huge).status == "5.1.1"
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(29))
    with pytest.raises(ReportInvalid):
        read_report(nested + b"\n" * MAX_BYTES)
    with pytest.raises(ReportInvalid):
        read_report(b"a: b\n" * MAX_BYTES)
    assert time.process_time() - started < 5


PIECES = [
    *(b"\r\n", b"\n\n", b"--b", b"--b--", b"Content-Type: ", b"multipart/report; boundary=b", b"text/rfc822-headers"),
    *(b"message/delivery-status", b"message/global-delivery-status", b"message/feedback-report", b"message/rfc822"),
    *(b"Content-Transfer-Encoding: base64\n", b"Action: failed\n", b"Status: ", b"5.1.1", b"Final-Recipient: utf-8;"),
    *(rb"a\x{D800}@b", b"Feedback-Type: abuse\n", b"\xff\xfe\x00", b"=?utf-8?b?!!?=", b'charset="\x00"', b"; "),
]


@given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=40))
def test_no_mail_makes_the_reader_fail(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    try:
        report = read_report(content)
    except ReportInvalid:
        return
    texts = (report.status, report.detail, *report.recipients)
    assert not [text for text in texts if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text)]


@given(cut=st.integers(0, 1_000), noise=st.binary(max_size=30), place=st.integers(0, 1_000))
def test_a_damaged_report_is_read_or_refused(cut: int, noise: bytes, place: int) -> None:
    for content in (delivery_report(to=SIGNED, delivery_id=7), complaint(mail_from=SIGNED)):
        damaged = content[:place] + noise + content[place + len(noise) : len(content) - cut]
        try:
            read_report(damaged)
        except ReportInvalid:
            continue
