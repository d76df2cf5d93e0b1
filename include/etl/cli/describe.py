"""`python -m etl describe`: every declaration, as JSON."""

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from typing import Any

import msgspec
import typer

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from etl.catalog.queues import QUEUES, WORKER_GROUPS
from etl.catalog.retention import RETENTION


def describe() -> None:
    """Print every declaration as JSON."""
    declarations = {
        "entities": ENTITIES,
        "notices": NOTICES,
        "queues": QUEUES,
        "worker_groups": WORKER_GROUPS,
        "retention": RETENTION,
    }
    typer.echo(msgspec.json.format(msgspec.json.encode(_to_jsonable(declarations)), indent=2).decode())


def _to_jsonable(value: Any) -> Any:  # noqa: ANN401 - any declared value
    """Return a declaration as what JSON knows; durations become seconds, functions their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _to_jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    match value:
        case Mapping():
            return {str(key): _to_jsonable(item) for key, item in value.items()}
        case tuple() | list():
            return [_to_jsonable(item) for item in value]
        case Enum():
            return value.value
        case timedelta():
            return value.total_seconds()
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else value
