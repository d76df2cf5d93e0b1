"""What is wrong with a message is found before anybody gets it."""

from __future__ import annotations

import pytest

from etl.catalog.channels import EMAIL, PUSH
from etl.notify.review.lint import GMAIL_LIMIT, check_url, find_problems
from etl.notify.review.pages import ReviewedMessage, ReviewedRecipient, render_index

GOOD = {
    "subject": "Your October",
    "text": "See https://bank.com/a.",
    "html": '<p>Hi</p><a href="https://bank.com">a</a>',
}
MAIL = b"From: Bank <news@bank.com>\r\nMessage-ID: <1@bank.com>\r\nList-Unsubscribe: <https://bank.com/u>\r\n\r\nHi"


def problems(mail: bytes = MAIL, *, is_refusable: bool = True, parts: dict[str, str] | None = None) -> list[str]:
    found = find_problems(EMAIL, {**GOOD, **(parts or {})}, mail=mail, is_refusable=is_refusable)
    return [str(each) for each in found]


def test_a_good_message_has_no_problems() -> None:
    assert problems() == []
    assert find_problems(PUSH, {"title": "Hi", "body": "You", "url": ""}, is_refusable=True) == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://bank.com/a?b=1#c", ""),
        ("https://xn--bcher-kva.com", ""),
        ("mailto:help@bank.com", ""),
        ("http://bank.com", "not encrypted"),
        ("ftp://bank.com", "no https"),
        ("javascript:alert(1)", "no https"),
        ("/path", "no https"),
        ("", "no https"),
        ("https://", "host is malformed"),
        ("https://bank", "host is malformed"),
        ("https://bank..com", "host is malformed"),
        ("https://bank.com:x/", "malformed"),
        ("https://bank.com@evil.com/", "host is malformed"),
        ("https://[::1", "malformed"),
        ("https://www.example.com/", "does not exist"),
        ("https://bank.example/", "does not exist"),
        ("https://localhost/", "does not exist"),
        ("https://bank.com/{{ token }}", "placeholder"),
        ("https://bank.com/%7Btoken%7D", "placeholder"),
        ("https://bank.com/TODO", "placeholder"),
        ("mailto:", "names nobody"),
    ],
)
def test_a_link_that_leads_nowhere_safe_is_found(url: str, problem: str) -> None:
    assert problem in check_url(url)
    assert bool(problem) == bool(check_url(url))


@pytest.mark.parametrize(
    ("part", "text", "problem"),
    [
        ("subject", " ", "subject: it is empty"),
        ("text", "", "text: it is empty"),
        ("subject", "x" * 79, "subject: it has 79 characters"),
        ("subject", "a\u200bb", "subject: it holds control characters"),
        ("text", "Dear None,", "text: it shows 'None'"),
        ("text", "nan USD", "text: it shows 'nan'"),
        ("text", "Hi {{ name }}", "text: it shows '{{'"),
        ("html", "<p>NaN</p>", "html: it shows 'NaN'"),
        ("html", "<img src='https://bank.com/a.png'>", "html: 1 images have no alt text"),
        ("html", "<a href='http://bank.com'>x</a>", "not encrypted"),
        ("html", "<img alt='' src='{{ logo }}'>", "placeholder"),
        ("text", "http://bank.com/x", "not encrypted"),
    ],
)
def test_a_fault_of_a_part_is_found(part: str, text: str, problem: str) -> None:
    assert any(problem in found for found in problems(parts={part: text})), problems(parts={part: text})


def test_what_only_looks_like_a_fault_is_none() -> None:
    html = "<style>a { color: null }</style><p>Nonetheless, nanometres</p><img alt='' src='https://bank.com/a.png'>"
    parts = {"html": html, "text": "Nonetheless, Nancy", "subject": "\u2068شركة\u2069"}
    assert problems(parts=parts) == []


def test_a_mail_that_gmail_clips_is_found() -> None:
    assert problems(MAIL + b"x" * GMAIL_LIMIT)[0].startswith("size: 104,5")


def test_a_refusable_mail_needs_its_header_and_another_does_not() -> None:
    bare = MAIL.replace(b"List-Unsubscribe", b"X-Other")
    assert "List-Unsubscribe" in problems(bare)[0]
    assert problems(bare, is_refusable=False) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"news@bank.com", b"nobody@sluice.invalid", "'sluice.invalid' does not exist"),
        (b"<1@bank.com>", b"<1@other.com>", "Message-ID has another domain"),
        (b"From:", b"X-From:", "does not exist"),
    ],
)
def test_a_sender_that_mail_servers_distrust_is_found(old: bytes, new: bytes, problem: str) -> None:
    assert any(problem in found for found in problems(MAIL.replace(old, new)))


def test_the_page_shows_what_a_message_holds_and_never_runs_it() -> None:
    html = "<style>@media (prefers-color-scheme: dark) { p { color: red } }</style><script>alert(1)</script>"
    message = ReviewedMessage("email", {**GOOD, "html": html}, 10, "no consent", [], [])
    page = render_index("<b>notice", [ReviewedRecipient(7, "de-AT", None, [message])])
    assert "<script>" not in page
    assert page.count("<iframe") == page.count(" sandbox ") == 4
    assert "&lt;b&gt;notice" in page
    assert page.count("(min-width: 0)") == page.count("(max-width: 0)") == 2
    assert not any(f'{attribute}="http' in page for attribute in ("src", "href"))
