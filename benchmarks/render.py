"""`python -m benchmarks.render`: write the tables and charts of this folder's README from `results.json`.

The table of the benchmark NAME stands between `<!-- results of NAME -->` and `<!-- end -->`.
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
_DRAW_PROGRAM = Path(__file__).parent / "peers" / "draw.py"
_TABLE_BLOCK = re.compile(r"(<!-- results of (?P<name>\w+) -->\n).*?(?=<!-- end -->)", re.DOTALL)
_NOT_MEASURED = "\nNot measured yet.\n\n"

Row = Mapping[str, Any]


def main() -> None:
    """Write the tables and draw the charts."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = README.read_text(encoding="utf-8")
    README.write_text(fill_tables(text, rows), encoding="utf-8")
    run([interpreter(), _DRAW_PROGRAM, RESULTS, README.with_name("charts")], check=True)


def fill_tables(text: str, rows: Sequence[Row]) -> str:
    """Return the text with the body of each table rendered from the rows."""

    def fill(block: re.Match[str]) -> str:
        benchmark_rows = [row for row in rows if row["command"] == f"python -m benchmarks.{block['name']}"]
        return block[1] + (_table(benchmark_rows) if benchmark_rows else _NOT_MEASURED)

    return _TABLE_BLOCK.sub(fill, text)


def _table(rows: Sequence[Row]) -> str:
    lines = ["", "| what | goal | measured | reached |", "|---|---|---|---|"]
    lines += [
        f"| {row['name']} | {row['goal']} | {row['measured']} | {'yes' if row['reached'] else '**no**'} |"
        for row in rows
    ]
    reasons = dict.fromkeys(row["tried"] for row in rows if row.get("tried") and not row["reached"])
    lines += ["", *(f"Missed: {reason}" for reason in reasons)] if reasons else []
    days = " and ".join(sorted({str(row["measured_on"]) for row in rows}))
    lines += ["", f"{days}, {rows[-1]['machine']}, `{rows[-1]['command']}`.", "", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
