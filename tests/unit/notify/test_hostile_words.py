"""What others named does nothing in a message but be read: no link, no number to tap, no markup, no direction."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from html import unescape

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from linkify_it import LinkifyIt  # type: ignore[import-untyped]

from etl.catalog.notices import NOTICES
from etl.declare.notice import Notice
from etl.notify.templates import Templates
from etl.safe_text import NON_JOINER, Ours, defuse, mark_amount, pad_left, pad_right, render_safely, sanitize_text
from tests.unit.notify.test_templates import VALUES

SHIPPED = [notice for notice in NOTICES if notice.name in VALUES]
WITH_NOTICES = pytest.mark.parametrize("notice", SHIPPED, ids=lambda notice: notice.name)
OURS = "https://bank.example/ours"
HOSTILE = (
    "http://evil.example/phish",
    "HTTPS://EVIL.COM",
    "evil.com",
    "www.evil.com/a?b=c#d",
    "//evil.com/x",
    "evil。com",
    "evil.рф",
    "1.1.1.1",
    "http://127.0.0.1:8080",
    "a@evil.com",
    "mailto:a@evil.com",
    "ftp://evil.com",
    "\\\\evil.com\\share",
    "Acme. Not you? call +1 555 123-4567",
    "call (555) 123.4567",
    "08001234567",
    "1-800-FLOWERS",
    "٠٨٠٠ ١٢٣ ٤٥٦٧",
    "evil\u200b.com",
    "ev\u00adil.com",
    "\u202emoc.live",
    "\u2066\u2067شركة evil.com",
    "a\r\nBcc: x@evil.com\r\n\r\n<script>alert(1)</script>",
    "<a href='http://evil.com'>bank</a>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "${7*7} %s %(amount)s {0}",
    "x" * 5_000,
    "y.com " * 500,
)
NUMBER = re.compile(r"[+(]?\d(?:[-\u00a0 .()/\[\]~\u00ad\u200b\u2060\u2010-\u2015]{0,4}\d){4,}")
"""Five digits with what Android and libphonenumber read over, which commas and non-joiners are not."""
LINKIFY = LinkifyIt(options={"fuzzy_ip": True, "fuzzy_email": True, "fuzzy_link": True})
LINKIFY.tlds(["example", "рф"], keep_old=True)
WORDS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=80),
    st.from_regex(r"[a-z]{1,4}[.@:/]{1,3}(com|example|co\.uk|рф)(/[a-z]*)?", fullmatch=True),
    st.from_regex(r"\+?[0-9]{1,3}[ ().-]{0,2}([0-9]{1,4}[ .-]?){2,4}", fullmatch=True),
)


@cache
def compiled(name: str) -> Templates:
    (notice,) = (each for each in SHIPPED if each.name == name)
    return Templates(notice)


def find_taps(text: str) -> list[str]:
    """Return what a mail program or a phone would make a link or a number to tap."""
    links = [match.text for match in LINKIFY.match(text) or []]
    numbers = NUMBER.findall(re.sub(r"\b[\d,]+\.\d\d EUR\b", "", text))
    return [each for each in (*links, *numbers) if not each.startswith(OURS)]


def fill(value: object, text: str) -> object:
    """Return a value of a template with `text` for each text that others named."""
    if isinstance(value, list):
        return [fill(each, text) for each in value]
    if isinstance(value, dict):
        return {name: each if name in KEPT else fill(each, text) for name, each in value.items()}
    return text if isinstance(value, str) else value


KEPT = {
    *("currency", "amount", "largest_amount", "threshold", "balance", "spent", "received", "own", "previous"),
    *("previous_change", "average", "average_change"),
}
"""Amounts and their currency, which the warehouse checks."""


def render(notice: Notice, text: str, **values: object) -> Iterator[tuple[str, str]]:
    """Yield the parts of all messages of a notice in which `text` is every name, as a person sees them."""
    filled = fill({**VALUES[notice.name], "mask": "4821"}, text)
    assert isinstance(filled, dict)
    if notice.name == "fraud_alert":
        filled["largest"] = "214.9"
    context = {**notice.parameters, "as_of": datetime(2026, 11, 1, tzinfo=UTC), **filled, "link": Ours(OURS), **values}
    templates = compiled(notice.name)
    for channel in notice.channels:
        yield from templates.render(channel, context, unsubscribe_url=OURS).items()


def visible_text(html: str) -> str:
    """Return the text of HTML, where each tag of a block ends a line."""
    body = re.sub(r"(?s)<(style|title)\b.*?</\1>", "", html)
    return unescape(re.sub(r"(?s)<[^>]*>", "", re.sub(r"<(?=/?(?:p|div|h1|h2|td|th|tr|table|a)\b)", "\n<", body)))


@WITH_NOTICES
@settings(max_examples=40, deadline=None)
@given(text=WORDS)
@example(text="http://evil.example/phish")
@example(text="Acme. Not you? call +1 555 123 4567")
def test_no_name_becomes_a_link_or_a_number_in_any_part_of_any_message(notice: Notice, text: str) -> None:
    for part, rendered in render(notice, text):
        shown = visible_text(rendered) if part == "html" else rendered
        assert find_taps(shown) == []
        assert set(re.findall(r'(?:href|src)="([^"]*)"', rendered)) <= {OURS}


@WITH_NOTICES
@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_adds_a_tag_a_line_or_a_control_character(notice: Notice, text: str) -> None:
    plain = dict(render(notice, "Shop"))
    for part, rendered in render(notice, text):
        assert rendered.count("<") == plain[part].count("<") or part != "html"
        assert rendered.count("\n") == plain[part].count("\n")
        strange = {char for char in rendered if unicodedata.category(char) in ("Cc", "Cf")}
        assert strange <= {"\n", NON_JOINER, "\u2068", "\u2069"}
        assert rendered.count("\u2068") == rendered.count("\u2069")
        assert len(rendered) < len(plain[part]) + 3_000


@WITH_NOTICES
@pytest.mark.parametrize("text", [None, "", " \n", "\u200c\u202e"], ids=["none", "empty", "blank", "invisible"])
def test_a_message_reads_well_without_a_name(notice: Notice, text: str | None) -> None:
    names = {"payee": text, "account": text, "mask": text}
    for part, rendered in render(notice, "Shop", **names):
        shown = visible_text(rendered) if part == "html" else rendered
        assert "None" not in shown
        assert not re.search(r" (to|from|in) ?[,.\n]| …\s|  +,", shown, re.IGNORECASE)


@WITH_NOTICES
def test_short_parts_fit_a_locked_phone_even_with_a_large_amount(notice: Notice) -> None:
    values = {"amount": "12345678901234567.89", "balance": "12345678901234567.89", "paid_on": "28 September 2026"}
    for part, rendered in render(notice, "A company with quite a long name & sons", **values):
        if part in ("title", "body", "subject"):
            assert len(rendered.replace(NON_JOINER, "")) <= 120


@pytest.mark.parametrize("text", HOSTILE)
def test_defused_text_looks_the_same(text: str) -> None:
    assert defuse(text).replace(NON_JOINER, "") == text
    assert defuse("Tom & Jerry's No. 5, 12 Main St") == "Tom & Jerry's No. 5, 12 Main St"


def test_only_what_is_ours_is_rendered_as_it_is() -> None:
    assert render_safely(Ours("https://a.example")) == "https://a.example"
    assert render_safely(Ours("https://a.example")[:9]) != "https://a"
    assert render_safely({"url": "a.example"}) != "{'url': 'a.example'}"
    assert render_safely(None) == ""
    assert render_safely(5) == 5
    assert render_safely(" …4821") == " …4821"


def test_columns_of_plain_text_are_aligned_whatever_a_name_holds() -> None:
    assert pad_right("Tom\n& Jerry", 12) == "Tom & Jerry "
    assert pad_right("x" * 20, 5) == "xxxx…"
    assert pad_right("東京", 6) == "東京  "
    assert pad_right("a.b", 5) == f"a{NON_JOINER}.{NON_JOINER}b  "
    assert pad_left("200.00 USD", 12) == f"  200{NON_JOINER}.00 USD"
    assert pad_left(Ours("200.00 USD"), 12) == "  200.00 USD"


@pytest.mark.parametrize(
    ("amount", "currency", "is_ours"),
    [("1,284.37 EUR", "EUR", True), ("1 284 567.89 EUR", "EUR", False), ("9.50 a.com", "a.com", False)],
)
def test_an_amount_is_ours_unless_it_could_be_a_phone_number_or_its_currency_a_link(
    amount: str, currency: str, *, is_ours: bool
) -> None:
    assert (render_safely(mark_amount(amount, currency)) == amount) is is_ours


def test_a_name_without_anything_visible_is_empty() -> None:
    assert sanitize_text("\u200c \u200d\u202e") == ""
    assert sanitize_text(None) == ""
