"""What `docs/providers.md` shows can be imported, and its example is a declaration that works."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from etl.declare.entity import Entity

PAGE = Path(__file__).parents[3] / "docs" / "providers.md"


def test_the_example_of_the_page_declares_an_entity() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, str(PAGE), "exec"), names)
    entity = names["MYBANK_TRANSACTIONS"]
    assert isinstance(entity, Entity)
    assert [column.name for column in entity.stored_columns][-2:] == ["currency", "description"]


def test_the_page_names_the_module_of_each_part() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(etl\.[\w.]+)` \| (.*) \|$", page, re.MULTILINE)
    modules = {name: import_module(module) for module, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert [name for name, module in modules.items() if not hasattr(module, name)] == []
    rest = page.partition("## Requests")[2]
    called = {name for code in re.findall(r"`([^`]+)`", rest) for name in re.findall(r"\b([A-Z][a-z]\w*)\(", code)}
    assert called - set(modules) == set()
