"""The table of bad nights, as it stands in docs/guarantees.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dev.stack.home import REPOSITORY
from tests.integration.notify.badnight.night import Night

DOCUMENT = REPOSITORY / "docs" / "guarantees.md"

BEGIN, END = "<!-- The table is written by `make badnight`. -->\n", "<!-- End of the table. -->\n"

_COLUMNS = (
    "| fault | run | sent | expired | unknown | failed | tries | reschedules | seconds | healthy, × alone |",
    "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |",
)


def render(nights: Sequence[Night], ratios: Sequence[float | None]) -> str:
    """Return the table in Markdown.

    Parameters
    ----------
    ratios
        For each night, how much longer the messages to healthy destinations took than alone; None if it has none.
    """
    return "\n".join((*_COLUMNS, *_lines(nights, ratios))) + "\n"


def _lines(nights: Sequence[Night], ratios: Sequence[float | None]) -> Iterator[str]:
    for night, ratio in zip(nights, ratios, strict=True):
        totals = night.evidence.totals
        cells = (
            night.evidence.fault.name,
            night.evidence.state,
            *(f"{totals[name]:,}" for name in ("sent", "expired", "unknown", "failed")),
            f"{night.attempts:,}",
            str(night.reschedules),
            f"{night.seconds:.1f}",
            "–" if ratio is None else f"{ratio:.2f}",
        )
        yield f"| {' | '.join(cells)} |"


def save(table: str) -> None:
    """Replace the table in the document."""
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}{table}{END}{rest.split(END)[1]}")
