"""XComs hold ids, not what they stand for."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom

MAX_BYTES = 4_096
"""Bytes of JSON that a task may hand on."""


class XComTooLarge(ValueError):
    """A task hands on what should be stored."""

    def __init__(self, task: str, key: str, size: int) -> None:
        super().__init__(
            f"task {task} hands on {size:,} bytes as XCom {key!r}, and at most {MAX_BYTES:,} are allowed: "
            "every one of them is written to Airflow's database. Store the value and return its id."
        )


class CappedXCom(BaseXCom):
    """XComs of at most `MAX_BYTES` bytes."""

    @staticmethod
    def serialize_value(
        value: Any,  # noqa: ANN401 - whatever a task returns
        *,
        key: str | None = None,
        task_id: str | None = None,
        dag_id: str | None = None,
        run_id: str | None = None,
        map_index: int | None = None,
    ) -> str:
        """Return what is kept of a value.

        Raises
        ------
        XComTooLarge
            If it is larger than allowed.
        """
        kept = BaseXCom.serialize_value(
            value, key=key, task_id=task_id, dag_id=dag_id, run_id=run_id, map_index=map_index
        )
        size = len(json.dumps(kept).encode())
        if size > MAX_BYTES:
            raise XComTooLarge(f"{dag_id}.{task_id}", key or "return_value", size)
        return kept
