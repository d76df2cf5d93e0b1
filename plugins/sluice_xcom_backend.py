"""XCom backend that rejects large values: tasks exchange ids, and store the data elsewhere."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom

MAX_BYTES = 4_096
"""Largest XCom, in bytes of JSON."""


class XComTooLarge(ValueError):
    """A task pushes an XCom that is too large, instead of storing the value and pushing its id."""

    def __init__(self, task: str, key: str, size: int) -> None:
        super().__init__(
            f"task {task} pushes {size:,} bytes as XCom {key!r}; at most {MAX_BYTES:,} are allowed, "
            "since they are written to Airflow's database. Store the value and return its id."
        )


class CappedXCom(BaseXCom):
    """XComs of at most `MAX_BYTES` bytes."""

    @staticmethod
    def serialize_value(
        value: Any,  # noqa: ANN401 - any value that a task returns
        *,
        key: str | None = None,
        task_id: str | None = None,
        dag_id: str | None = None,
        run_id: str | None = None,
        map_index: int | None = None,
    ) -> str:
        """Return the serialised value.

        Raises
        ------
        XComTooLarge
            If it is larger than `MAX_BYTES`.
        """
        serialized = BaseXCom.serialize_value(
            value, key=key, task_id=task_id, dag_id=dag_id, run_id=run_id, map_index=map_index
        )
        size = len(json.dumps(serialized).encode())
        if size > MAX_BYTES:
            raise XComTooLarge(f"{dag_id}.{task_id}", key or "return_value", size)
        return serialized
