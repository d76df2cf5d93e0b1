"""A promise of a run, and what may become of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from etl.alerts.alert import Kind, News

PROMISED_BY = datetime(2026, 11, 24, 2, tzinfo=UTC)
RUN_ID = "scheduled__2026-11-24T00:00:00+00:00"
URL = "http://airflow.example/dags/etl_transactions/runs/scheduled__2026-11-24T00%3A00%3A00%2B00%3A00"


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def news(kind: Kind, **changes: Any) -> News:
    facts: dict[str, Any] = {
        "as_of": PROMISED_BY - minutes(30),
        "url": URL,
        "promised_by": PROMISED_BY,
        "finish_at": PROMISED_BY + minutes(34),
    }
    return News(kind, "etl_transactions", RUN_ID, **(facts | changes))
