"""The example in `docs/providers.md` is a declaration that works."""

from __future__ import annotations

import re
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
