"""Messages in the language of their recipient, and what is written as they write it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from etl.catalog.channels import DESKTOP, EMAIL
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.declare.fault import DeclarationFault
from etl.declare.notice import Notice
from etl.notify.templates import TemplateBroken, Templates
from etl.preflight.templates import find_template_faults
from etl.safe_text import NON_JOINER

NOTICE = replace(MONTHLY_REPORT, name="sample", channels=(EMAIL, DESKTOP))
ENGLISH = dict.fromkeys(NOTICE.template_names, "English")
INSTANT = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)


def write(root: Path, **texts: str) -> Notice:
    """Write the English templates of a notice, and others, whose dots are written as `_`."""
    (root / "sample").mkdir()
    for name, text in {**ENGLISH, **{f"{name.replace('_', '.')}.jinja": text for name, text in texts.items()}}.items():
        (root / "sample" / name).write_text(text)
    return NOTICE


def render(root: Path, notice: Notice, locale: str | None, *, zone: str | None = None, **values: Any) -> str:
    """Return the text of the mail."""
    parts = Templates(notice, root).render(EMAIL, values, locale=locale, time_zone=zone)
    return parts["text"]


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        *(("de-AT", "Österreich"), ("de", "Deutsch"), ("de-CH", "Deutsch"), ("DE_ch", "Deutsch"), ("de-XX", "Deutsch")),
        *(("fr", "English"), (None, "English"), ("", "English"), ("not a tag", "English"), ("xx-YY", "English")),
    ],
)
def test_a_recipient_gets_the_closest_language_that_there_is(tmp_path: Path, locale: str | None, expected: str) -> None:
    notice = write(tmp_path, **{"email_text_de": "Deutsch", "email_text_de-AT": "Österreich"})
    assert render(tmp_path, notice, locale) == expected


def test_a_part_without_translation_falls_back_to_that_of_the_language(tmp_path: Path) -> None:
    notice = write(tmp_path, **{"email_subject_de": "Betreff", "email_text_de": "de", "email_text_de-AT": "at"})
    parts = Templates(notice, tmp_path).render(EMAIL, {}, locale="de-AT")
    assert (parts["subject"], parts["text"], parts["html"]) == ("Betreff", "at", "English")


def test_numbers_are_written_in_the_language_of_the_text_around_them(tmp_path: Path) -> None:
    amount = "{{ '1234.5' | money('EUR') }} {{ n | number }} {{ n | number(0) }} {{ day | date('yMMMM') }}"
    notice = replace(write(tmp_path, email_text_de=amount), channels=(EMAIL,))
    (tmp_path / "sample" / "email.text.jinja").write_text(amount)
    values: dict[str, Any] = {"n": Decimal("9876.50"), "day": "2026-10-01"}
    assert render(tmp_path, notice, "de-AT", **values) == "1.234,50 EUR 9.876,50 9.876 Oktober 2026"
    assert render(tmp_path, notice, "fr", **values) == "1,234.50 EUR 9,876.50 9,876 October 2026"
    assert render(tmp_path, notice, "en-IN", **values) == "1,234.50 EUR 9,876.50 9,876 October 2026"


def test_amounts_of_any_length_are_exact(tmp_path: Path) -> None:
    notice = write(tmp_path, email_text_de="{{ amount | money('USD') }}")
    amount = "123456789012345678901234567890.12"
    assert (
        render(tmp_path, notice, "de", amount=amount).replace(NON_JOINER, "")
        == "123.456.789.012.345.678.901.234.567.890,12 USD"
    )


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("Asia/Tokyo", "November 1, 2026"), ("America/New_York", "October 31, 2026"), ("Nowhere", "October 31, 2026")],
)
def test_an_instant_has_the_day_and_time_of_the_recipient(tmp_path: Path, zone: str, expected: str) -> None:
    notice = write(tmp_path)
    (tmp_path / "sample" / "email.text.jinja").write_text("{{ at | date }} {{ time_zone }}")
    used = zone if "/" in zone else "UTC"
    assert render(tmp_path, notice, "en", zone=zone, at=INSTANT) == f"{expected} {used}"


def test_a_date_without_time_is_the_same_day_everywhere(tmp_path: Path) -> None:
    notice = write(tmp_path)
    (tmp_path / "sample" / "email.text.jinja").write_text("{{ on | date('short') }}")
    assert render(tmp_path, notice, "en", zone="America/New_York", on="2026-10-01") == "10/1/26"


def test_macros_format_for_the_recipient_too(tmp_path: Path) -> None:
    notice = write(tmp_path, email_text_de="{% from 'bar.jinja' import bar %}{{ bar('1234.5') }}")
    (tmp_path / "bar.jinja").write_text("{% macro bar(amount) %}{{ amount | money('EUR') }}{% endmacro %}")
    templates = Templates(notice, tmp_path)
    assert templates.render(EMAIL, {}, locale="de")["text"] == "1.234,50 EUR"
    assert templates.render(EMAIL, {}, locale="de-CH")["text"] == "1’234.50 EUR"


def test_a_file_for_a_language_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    notice = write(tmp_path, email_text_xx="?")
    with pytest.raises(TemplateBroken, match=r"sample/email\.text\.xx\.jinja: 'xx' is no language"):
        Templates(notice, tmp_path)
    (fault,) = find_template_faults(notice, None, root=tmp_path)
    assert "'xx' is no language" in fault.reason


def faults(root: Path, notice: Notice) -> list[DeclarationFault]:
    return list(find_template_faults(notice, ["position"], root=root))


def test_check_names_the_parts_that_a_translated_message_lacks(tmp_path: Path) -> None:
    notice = write(tmp_path, email_text_de="x", email_subject_de="x", desktop_title_de="x", desktop_body_de="x")
    (fault,) = faults(tmp_path, notice)
    assert "email.html.de.jinja is missing" in fault.reason
    (tmp_path / "sample" / "email.html.de.jinja").write_text("x")
    assert faults(tmp_path, notice) == []


def test_check_reads_translated_templates(tmp_path: Path) -> None:
    notice = write(tmp_path, email_text_de="{{ surname }}", email_subject_de="x", email_html_de="x")
    (fault,) = faults(tmp_path, notice)
    assert "there is no surname" in fault.reason
    assert "email.text.de.jinja:1" in fault.location
