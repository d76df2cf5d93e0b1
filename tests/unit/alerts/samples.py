"""Sample alerts about one run and its deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from etl.alerts.alert import Alert, AlertKind

DUE_AT = datetime(2026, 11, 24, 2, tzinfo=UTC)
RUN_ID = "scheduled__2026-11-24T00:00:00+00:00"
URL = "http://airflow.example/dags/etl_transactions/runs/scheduled__2026-11-24T00%3A00%3A00%2B00%3A00"


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def make_alert(kind: AlertKind, **changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "as_of": DUE_AT - minutes(30),
        "url": URL,
        "deadline_at": DUE_AT,
        "finish_at": DUE_AT + minutes(34),
    }
    return Alert(kind, "etl_transactions", RUN_ID, **(fields | changes))
