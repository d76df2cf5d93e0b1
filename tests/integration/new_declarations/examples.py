"""The examples of the documentation, as a reader copies them."""

from __future__ import annotations

import re
from textwrap import dedent

from tests.project_copy import ROOT


def examples(section: str, language: str, *, page: str = "CONTRIBUTING.md", level: str = "##") -> list[str]:
    """Return the examples of a section in a language, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    body = text.partition(f"{level} {section}\n")[2].partition(f"\n{level} ")[0]
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", body, re.MULTILINE | re.DOTALL)
    return [dedent(block) for _, block in blocks]
