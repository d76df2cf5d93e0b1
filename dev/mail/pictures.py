"""`python -m dev.mail.pictures`: take pictures of every shipped mail with Chromium: light, dark, and on a phone.

Those for the docs go to `docs/mails`; others, whose names and amounts try to break a mail, to a temporary folder.
"""

from __future__ import annotations

import html
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from etl.catalog.channels import EMAIL
from etl.catalog.notices import NOTICES
from etl.declare.notice import Consent, Notice
from etl.notify.templates import Templates
from etl.safe_text import Ours

FOLDER = Path(__file__).parents[2] / "docs" / "mails"
LINK = Ours("https://bank.example/open")
UNSUBSCRIBE_URL = "https://bank.example/unsubscribe?token=1"


class View(NamedTuple):
    """How a mail is looked at: the name of the view, its width in pixels, and the colours that its reader prefers."""

    name: str
    width: int
    colours: str


COLOURS = 64
"""Colours of a picture, which keep it below 60 kB."""
VIEWS = (View("light", 640, "light"), View("dark", 640, "dark"), View("phone", 375, "light"))


def _currency(code: str, spent: str, received: str, **values: object) -> dict[str, object]:
    known: dict[str, object] = {"previous": None, "average": None, "own": None, "categories": [], "largest": []}
    return {"currency": code, "payments": 3, "spent": spent, "received": received, **known, **values}


def _categories(**amounts: int) -> list[dict[str, object]]:
    largest = max(amounts.values())
    return [
        {"name": name.replace("_", " "), "amount": str(amount), "percent": round(100 * amount / largest)}
        for name, amount in amounts.items()
    ]


VALUES: Mapping[str, Mapping[str, object]] = {
    "fraud_alert": {
        "payee": "Elektrowelt Süd",
        "amount": "1284.37",
        "currency": "EUR",
        "paid_on": "1 October 2026",
        "pending": True,
        "largest": "214.9",
        "payments": 38,
        "account": "Everyday",
        "mask": "4821",
    },
    "low_balance": {
        "account": "Everyday",
        "mask": "4821",
        "balance": "38.2",
        "available": True,
        "currency": "EUR",
        "threshold": "100",
    },
    "monthly_report": {
        "month": "October 2026",
        "previous_month": "September",
        "missing": [{"bank": "First Bank of the Lakes", "since": "12 October 2026"}],
        "currencies": [
            _currency(
                "EUR",
                "2184.37",
                "3120",
                own="450",
                previous="2290.1",
                previous_change="105.73",
                previous_sign=-1,
                average="2071",
                average_change="113.37",
                average_sign=1,
                average_months=12,
                categories=_categories(Rent_and_utilities=980, Food_and_drink=521, Travel=312, The_cat=74, Other=297),
                largest=[
                    {"payee": "Hausverwaltung Lindenhof", "amount": "980", "paid_on": "1 October"},
                    {"payee": "Booking.com", "amount": "312", "paid_on": "17 October"},
                    {"payee": "Elektrowelt Süd", "amount": "189.9", "paid_on": "22 October"},
                ],
            ),
            _currency("GBP", "64", "0", categories=_categories(Food_and_drink=64)),
        ],
    },
}
"""Notice → the values of the mail in its pictures."""

HOSTILE: Mapping[str, Mapping[str, object]] = {
    "fraud_alert": {
        "payee": "Acme. Not you? call +1 555 123 4567 http://evil.example/phish",
        "account": "حساب شركة النور الجاري",
    },
    "low_balance": {"account": "שלום 5", "balance": "-12345678901234567890.12"},
    "monthly_report": {
        "currencies": [
            _currency(
                "EUR",
                "12345678901234567890.12",
                "0",
                categories=[{"name": "شركة النور", "amount": "12345678901234567890.12", "percent": 100}],
                largest=[
                    {"payee": "x" * 80, "amount": "99999999999", "paid_on": "1 October"},
                    {"payee": None, "amount": "5", "paid_on": "2 October"},
                ],
            )
        ]
    },
}
"""Notice → values that try to break its mail."""


def main() -> None:
    """Write the pictures of every mail into `docs/mails`, and those with hostile names into a temporary folder."""
    FOLDER.mkdir(exist_ok=True)
    trials = Path(tempfile.mkdtemp(prefix="mails-"))
    for notice in (each for each in NOTICES if each.name in VALUES):
        for folder, values in ((FOLDER, {}), (trials, HOSTILE[notice.name])):
            for path in _take_pictures(notice, {**VALUES[notice.name], **values}, folder):
                print(path, f"{path.stat().st_size:,} bytes")


def _take_pictures(notice: Notice, values: Mapping[str, object], folder: Path) -> Iterator[Path]:
    context = {**notice.parameters, "as_of": datetime(2026, 11, 1, tzinfo=UTC), **values, "link": LINK}
    url = "" if notice.category.consent is Consent.NONE else UNSUBSCRIBE_URL
    mail = Templates(notice).render(EMAIL, context, unsubscribe_url=url)
    if folder != FOLDER:
        (folder / f"{notice.name}.txt").write_text(mail["text"])
    for view in VIEWS:
        path = folder / f"{notice.name}_{view.name}.png"
        _take_picture(mail["html"], view, path)
        yield path


def _take_picture(mail: str, view: View, path: Path) -> None:
    """Take a picture of a whole mail, in a frame, since Chromium's window cannot be as narrow as a phone."""
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "page.html"
        measure = "document.title = this.contentDocument.querySelector('table').offsetHeight"
        page.write_text(
            f'<!doctype html><body style="margin:0"><iframe style="border:0;width:{view.width}px;height:3000px" '
            f'onload="{measure}" srcdoc="{html.escape(mail)}"></iframe>'
        )
        dark = 0 if view.colours == "dark" else 1
        command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", "--disable-lcd-text"]
        command += [f"--blink-settings=preferredColorScheme={dark}", f"--user-data-dir={name}/profile"]
        seen = subprocess.run(
            [*command, "--dump-dom", page.as_uri()], check=True, capture_output=True, text=True
        ).stdout
        height = re.search(r"<title>(\d+)</title>", seen)
        size = f"--window-size={view.width},{height[1] if height else 1000}"
        subprocess.run([*command, size, f"--screenshot={path}", page.as_uri()], check=True, capture_output=True)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
