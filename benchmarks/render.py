"""`python -m benchmarks.render`: write the tables and charts of this folder's README from `results.json`.

A table stands between `<!-- results of NAME -->` and `<!-- end -->`, where NAME is the benchmark that measured it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import run
from typing import Any

from benchmarks.peers.interpreter import interpreter
from benchmarks.support.result import RESULTS

README = Path(__file__).with_name("README.md")
_DRAWS = Path(__file__).parent / "peers" / "draw.py"
_PLACE = re.compile(r"(<!-- results of (?P<name>\w+) -->\n).*?(?=<!-- end -->)", re.DOTALL)
_NOTHING = "\nNot measured yet.\n\n"

Row = Mapping[str, Any]


def main() -> None:
    """Write the tables, and draw the charts."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = README.read_text(encoding="utf-8")
    README.write_text(fill_tables(text, rows), encoding="utf-8")
    run([interpreter(), _DRAWS, RESULTS, README.with_name("charts")], check=True)


def fill_tables(text: str, rows: Sequence[Row]) -> str:
    """Return a text with its tables as the rows have it."""

    def filled(place: re.Match[str]) -> str:
        found = [row for row in rows if row["command"] == f"python -m benchmarks.{place['name']}"]
        return place[1] + (_table(found) if found else _NOTHING)

    return _PLACE.sub(filled, text)


def _table(rows: Sequence[Row]) -> str:
    lines = ["", "| what | goal | measured | reached |", "|---|---|---|---|"]
    lines += [
        f"| {row['name']} | {row['goal']} | {row['measured']} | {'yes' if row['reached'] else '**no**'} |"
        for row in rows
    ]
    tried = dict.fromkeys(row["tried"] for row in rows if row.get("tried") and not row["reached"])
    lines += ["", *(f"Missed: {each}" for each in tried)] if tried else []
    days = " and ".join(sorted({str(row["measured_on"]) for row in rows}))
    lines += ["", f"{days}, {rows[-1]['machine']}, `{rows[-1]['command']}`.", "", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
