"""Templates of notices: exact amounts, escaping, and sanitized names from banks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jinja2 import FileSystemLoader

from etl.catalog.channels import EMAIL
from etl.catalog.notices import NOTICES
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.declare.notice import Consent, Notice
from etl.notify.formats import format_money
from etl.notify.templates import TemplateBroken, Templates
from etl.safe_text import NON_JOINER, Ours, sanitize_text

HOSTILE = "<script>alert(1)</script>\n\u202egnp.\u200b شركة"
VALUES: dict[str, dict[str, object]] = {
    "monthly_report": {
        "month": "October 2026",
        "previous_month": "September",
        "currencies": [
            {
                "currency": "EUR",
                "payments": 41,
                "spent": "1284.3700000000",
                "received": "2500",
                "own": "400",
                "previous": "1400",
                "previous_change": "115.63",
                "previous_sign": -1,
                "average": "1200",
                "average_change": "84.37",
                "average_sign": 1,
                "average_months": 11,
                "categories": [{"name": HOSTILE, "amount": "1284.37", "percent": 100}],
                "largest": [{"payee": HOSTILE, "amount": "900", "paid_on": "3 October"}],
            }
        ],
        "missing": [{"bank": HOSTILE, "since": "12 October 2026"}],
    },
    "fraud_alert": {
        "payee": HOSTILE,
        "amount": "1284.3700000000",
        "currency": "EUR",
        "paid_on": "1 October 2026",
        "pending": True,
        "largest": "214.9",
        "payments": 38,
        "account": HOSTILE,
        "mask": "4821",
    },
    "low_balance": {
        "account": HOSTILE,
        "mask": None,
        "balance": "1284.3700000000",
        "available": True,
        "currency": "EUR",
        "threshold": "2000",
    },
}
"""Notice → what its statement `recipients` returns."""
WITH_VALUES = pytest.mark.parametrize(
    "notice", [notice for notice in NOTICES if notice.name in VALUES], ids=lambda notice: notice.name
)
LINK = "https://bank.example/unsubscribe?a=1&b=2"


def render_all(notice: Notice, *, unsubscribe_url: str = "", **values: object) -> dict[str, dict[str, str]]:
    """Return the rendered messages of a notice of the catalogue, by channel."""
    templates = Templates(notice)
    context = {**notice.parameters, "as_of": datetime(2026, 11, 1, tzinfo=UTC), **VALUES[notice.name], **values}
    return {
        channel.name: templates.render(channel, context, unsubscribe_url=unsubscribe_url) for channel in notice.channels
    }


@WITH_VALUES
def test_every_message_holds_its_amount_and_no_hostile_characters(notice: Notice) -> None:
    for parts in render_all(notice).values():
        assert any("1,284.37 EUR" in text for text in parts.values())
        assert "<script>" not in parts.get("html", "")
        assert not any(mark in text for text in parts.values() for mark in "\u202e\u200b")


@WITH_VALUES
def test_every_mail_shows_its_unsubscribe_link(notice: Notice) -> None:
    assert "Unsubscribe" not in render_all(notice)["email"]["html"]
    linked = render_all(notice, unsubscribe_url=LINK)["email"]
    assert 'href="https://bank.example/unsubscribe?a=1&amp;b=2"' in linked["html"]
    assert notice.category.consent is Consent.NONE or LINK in linked["text"]


@pytest.mark.parametrize("name", ["fraud_alert", "low_balance"])
def test_link_of_a_message_comes_from_its_parameter(name: str) -> None:
    (notice,) = (notice for notice in NOTICES if notice.name == name)
    first = notice.channels[0].name
    assert render_all(notice)[first]["url"] == ""
    linked = render_all(notice, link=Ours("https://bank.example/money"))
    assert linked[first]["url"] == "https://bank.example/money"
    assert all("https://bank.example/money" in linked["email"][part] for part in ("text", "html"))


def render_parts(tmp_path: Path, **parts: str) -> dict[str, str]:
    """Return the parts of a message, rendered from templates with this text."""
    notice: Notice = replace(MONTHLY_REPORT, name="sample")
    (tmp_path / "sample").mkdir()
    for name in notice.template_names:
        (tmp_path / "sample" / name).write_text(parts.get(name.split(".")[1], ""))
    return Templates(notice, tmp_path).render(EMAIL, {"name": "Tom & Jerry\nBcc: x@y.example"})


def test_html_is_escaped_and_text_is_not(tmp_path: Path) -> None:
    parts = render_parts(tmp_path, html="{{ name }}", text="{{ name }}")
    assert parts["html"].startswith("Tom &amp; Jerry")
    assert parts["text"].startswith("Tom & Jerry ")


def test_subject_is_one_line_whatever_a_value_holds(tmp_path: Path) -> None:
    subject = render_parts(tmp_path, subject="For\n{{ name | ours }}\n")["subject"]
    assert subject == "For Tom & Jerry Bcc: x@y.example"


def test_values_are_sanitized_and_defused_also_in_blocks_and_macros_unless_they_are_ours(tmp_path: Path) -> None:
    text = "{% macro show(x) %}1\n{{ x }}\n{% endmacro %}{{ show(name) }}{{ show(name | ours) }}"
    assert render_parts(tmp_path, text=text)["text"] == (
        f"1\nTom & Jerry Bcc: x{NON_JOINER}@{NON_JOINER}y{NON_JOINER}.{NON_JOINER}example\n"
        "1\nTom & Jerry\nBcc: x@y.example\n"
    )


def test_the_stylesheet_is_in_the_elements_and_lines_of_templates_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "layout.css").write_text(".big { font-size: 20px; }")
    html = '<table>\n{% for n in [1, 2] %}\n<tr><td class="big">{{ n }}</td></tr>\n{% endfor %}\n</table>\n{{ name }}'
    rendered = render_parts(tmp_path, html=html)["html"]
    row = '<tr><td class="big" style="font-size: 20px;">%d</td></tr>\n'
    assert rendered.startswith(f"<table>\n{row % 1}{row % 2}</table>\nTom &amp; Jerry")
    (tmp_path / "sample" / "email.html.jinja").write_text(f"{html}\n{{{{ surname }}}}")
    with pytest.raises(TemplateBroken, match=r"sample/email\.html\.jinja:7: "):
        Templates(replace(MONTHLY_REPORT, name="sample"), tmp_path).render(EMAIL, {"name": "Tom"})


def test_an_error_names_file_and_line_and_no_value(tmp_path: Path) -> None:
    with pytest.raises(TemplateBroken, match=r"sample/email\.text\.jinja:2: UndefinedError: 'surname'") as raised:
        render_parts(tmp_path, text="fine\n{{ surname }}")
    assert "Jerry" not in str(raised.value)


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [("1234.5000000000", "USD", "1,234.50 USD"), ("1200", "JPY", "1,200 JPY"), ("1.2345", "KWD", "1.234 KWD")],
)
def test_money_has_the_decimals_of_its_currency(amount: str, currency: str, expected: str) -> None:
    assert format_money(amount, currency) == expected


def test_error_in_a_shared_template_names_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "frame.html.jinja").write_text("fine\n{{ colour }}\n")
    with pytest.raises(TemplateBroken, match=r"/frame\.html\.jinja:2: UndefinedError: 'colour' is undefined"):
        render_parts(tmp_path, html="{% extends 'frame.html.jinja' %}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CAFÉ  №5\n", "CAFÉ №5"),
        ("a\u202eb\u200b\x00c\u2028d", "abc d"),
        ("x" * 61, "x" * 59 + "…"),
        ("שלום 5", "\u2068שלום 5\u2069"),
        ("\u2066שלום", "\u2068שלום\u2069"),
        ("क्\u200dष", "क्\u200dष"),
        ("", ""),
    ],
)
def test_sanitized_name_is_one_line_without_invisible_characters_and_isolates_direction(
    name: str, expected: str
) -> None:
    assert sanitize_text(name) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{{ {}[payee] }}",
        "{{ [].index(payee) }}",
        "{{ {}[payees[0].name] }}",
        "{{ {}[unsubscribe_url] }}",
        "{{ payee.__class__.mro() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ money.__globals__ }}",
        "{{ ''.join(payees) }}",
        "{{ payee | money('USD') }}",
    ],
)
def test_template_error_shows_no_value_or_internal_object(tmp_path: Path, text: str) -> None:
    for part in EMAIL.parts:
        folder = tmp_path / "monthly_report"
        folder.mkdir(exist_ok=True)
        (folder / f"email.{part}.jinja").write_text(text)
    templates = Templates(MONTHLY_REPORT, tmp_path)
    values = {"payee": "Joe's Secret", "payees": [{"name": "Secret"}]}
    with pytest.raises(TemplateBroken) as raised:
        templates.render(EMAIL, values, unsubscribe_url="https://bank.example/Secret")
    assert "Secret" not in str(raised.value)
    assert "email.subject.jinja:1: " in str(raised.value)


def test_a_template_that_may_not_be_read_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object, __: object, name: str) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / name))

    monkeypatch.setattr(FileSystemLoader, "get_source", refuse)
    with pytest.raises(TemplateBroken, match=f"^{tmp_path}/.*: it may not be read; "):
        Templates(MONTHLY_REPORT)
