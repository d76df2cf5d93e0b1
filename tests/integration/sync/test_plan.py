"""Cutting provider accounts into chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.sync.logins.store import provider_accounts
from tests.integration.sync.pipeline import Pipeline

Rows = Callable[..., list[tuple[object, ...]]]
SIZES = """
select count(p.provider_account_id)::int
from etl.chunks as c
left join core.provider_accounts as p
    on p.provider_account_id >= c.start and p.provider_account_id < c.stop and p.state = 'active'
where c.withdrawn_at is null
group by c.ordinal
order by c.ordinal
"""


def tokens(count: int) -> list[str]:
    return [f"token-{number}" for number in range(count)]


def test_chunks_are_even_despite_gaps_in_the_ids(pipeline: Pipeline, rows: Rows) -> None:
    accounts = pipeline.enrol(*tokens(40))
    pipeline.db.execute("delete from core.provider_accounts where provider_account_id = any(%s)", [accounts[3:23]])
    pipeline.entity = replace(pipeline.entity, chunk_size=5)
    assert pipeline.plan("run") == [0, 1, 2, 3]
    assert rows(SIZES) == [(5,), (5,), (5,), (5,)]


def test_chunks_are_larger_if_there_would_be_more_than_the_maximum(pipeline: Pipeline, rows: Rows) -> None:
    pipeline.enrol(*tokens(31))
    pipeline.entity = replace(pipeline.entity, chunk_size=1, max_chunks=3)
    assert pipeline.plan("run") == [0, 1, 2]
    assert rows(SIZES) == [(11,), (10,), (10,)]


def test_a_run_without_enrolled_accounts_has_no_chunk(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    assert pipeline.plan("run") == []
    assert "no login of plaid is active" in caplog.text
    assert "`sluice link --provider plaid --user ID`" in caplog.text


def test_a_run_of_which_no_login_is_due_says_how_many_wait_and_until_when(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = pipeline.enrol(*tokens(4))
    provider_accounts.require_login(pipeline.db, accounts[:3], reason="ITEM_LOGIN_REQUIRED")
    provider_accounts.suspend(pipeline.db, accounts[3:], reason="asked")
    for hours, account in enumerate(accounts[:3], start=1):
        pipeline.db.execute(
            "update core.provider_accounts set next_try_at = date_trunc('day', now(), 'utc') "
            "+ make_interval(days => 1, hours => %s) where provider_account_id = %s",
            [hours, account],
        )
    assert pipeline.plan("run") == []
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    assert f"3 need a login, and the first is tried again at {tomorrow} 01:00:00 UTC" in caplog.text
    assert "is active, so there" not in caplog.text


def test_a_stopped_account_is_not_planned(pipeline: Pipeline, rows: Rows) -> None:
    pipeline.enrol(*tokens(3))
    pipeline.db.execute(
        "update core.provider_accounts set state = 'suspended', state_since = now() where item_id = 'item-token-2'"
    )
    pipeline.plan("run")
    assert rows(SIZES) == [(2,)]


def test_planning_a_run_again_replaces_its_plan(pipeline: Pipeline, rows: Rows) -> None:
    pipeline.enrol(*tokens(6))
    pipeline.entity = replace(pipeline.entity, chunk_size=2)
    assert pipeline.plan("run") == [0, 1, 2]
    pipeline.db.execute(
        "update core.provider_accounts set state = 'suspended', state_since = now() where provider_account_id > 3"
    )
    assert pipeline.plan("run") == [0, 1]
    assert rows("select ordinal from etl.chunks where withdrawn_at is null order by 1") == [(0,), (1,)]
    assert rows(SIZES) == [(2,), (1,)]


def test_runs_do_not_share_chunks(pipeline: Pipeline, rows: Rows) -> None:
    pipeline.enrol(*tokens(1))
    pipeline.plan("one")
    pipeline.plan("two")
    assert rows("select count(*), count(distinct chunk_id) from etl.chunks") == [(2, 2)]
