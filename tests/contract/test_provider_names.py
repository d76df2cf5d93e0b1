"""Steps, stores and plugins know no provider: what one needs is in its declaration."""

from __future__ import annotations

import re
from pathlib import Path

from etl.catalog.entities import ENTITIES

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / "include" / "etl" / "catalog"
EXAMPLES = {ROOT / "include" / "etl" / "cli" / "logins" / "link.py"}
"""Files with a provider in an example that is printed."""


def test_no_step_store_statement_or_plugin_names_a_provider() -> None:
    names = re.compile(rf"\b({'|'.join({entity.provider.name for entity in ENTITIES})})", re.IGNORECASE)
    files = [
        path
        for folder in ("include", "plugins", "dags")
        for suffix in ("py", "sql")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
        if not path.is_relative_to(CATALOG) and path not in EXAMPLES
    ]
    assert len(files) > 200
    assert [str(path.relative_to(ROOT)) for path in files if names.search(path.read_text(encoding="utf-8"))] == []
