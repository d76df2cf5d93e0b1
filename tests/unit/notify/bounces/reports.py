"""Reports as mail servers and mailbox providers write them."""

from __future__ import annotations

from email.message import EmailMessage

ORIGINAL = "Return-Path: <{return_path}>\nMessage-ID: <delivery.{delivery_id}@bank.example>\nSubject: Your report\n"


def delivery_report(
    *,
    to: str = "bounce@bank.example",
    recipient: str = "rfc822; joe@home.example",
    action: str = "failed",
    status: str = "5.1.1",
    diagnostic: str = "smtp; 550 5.1.1 <joe@home.example>: user unknown",
    return_path: str = "",
    delivery_id: int = 0,
    status_type: str = "message/delivery-status",
    headers_type: str = "text/rfc822-headers",
) -> bytes:
    """Return a delivery report as Postfix writes it (RFC 3464)."""
    lines = [
        "Return-Path: <>",
        "From: MAILER-DAEMON@mx.example",
        f"To: {to}",
        "Subject: Undelivered Mail Returned to Sender",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
        "",
        "--b",
        "Content-Type: text/plain",
        "",
        "I'm sorry to have to inform you …",
        "--b",
        f"Content-Type: {status_type}",
        "",
        "Reporting-MTA: dns; mx.example",
        "",
        f"Final-Recipient: {recipient}",
        f"Action: {action}",
        f"Status: {status}",
        f"Diagnostic-Code: {diagnostic}",
        "",
        "--b",
        f"Content-Type: {headers_type}",
        "",
        ORIGINAL.format(return_path=return_path, delivery_id=delivery_id),
        "--b--",
        "",
    ]
    return "\r\n".join(lines).encode()


def complaint(
    *, feedback_type: str = "abuse", mail_from: str = "", recipient: str = "joe@home.example", delivery_id: int = 0
) -> bytes:
    """Return a complaint as mailbox providers write it (RFC 5965)."""
    lines = [
        "From: feedback@provider.example",
        "To: abuse@bank.example",
        "Subject: FW: Your report",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"',
        "",
        "--b",
        "Content-Type: text/plain",
        "",
        "This is a complaint.",
        "--b",
        "Content-Type: message/feedback-report",
        "",
        f"Feedback-Type: {feedback_type}",
        "User-Agent: Provider/1.0",
        "Version: 1",
        *([f"Original-Mail-From: <{mail_from}>"] if mail_from else []),
        *([f"Original-Rcpt-To: <{recipient}>"] if recipient else []),
        "",
        "--b",
        "Content-Type: message/rfc822",
        "",
        ORIGINAL.format(return_path="", delivery_id=delivery_id),
        "",
        "Hello",
        "--b--",
        "",
    ]
    return "\r\n".join(lines).encode()


def out_of_office(to: str) -> bytes:
    """Return an automatic reply, which is no report."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Auto-Submitted"] = "joe@home.example", to, "auto-replied"
    mail.set_content("I am away; 550 5.1.1")
    return mail.as_bytes()
