"""A load that another transaction blocks ends in bounded time, and loads once that has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.db.connection import Connection
from etl.db.connection import connect as connect_with
from etl.db.timeouts import TIMEOUTS
from etl.db.waits import WarehouseBusy
from etl.settings import Endpoint
from etl.sync.load import load
from etl.sync.store import loads
from etl.sync.transform import transform
from tests.integration.sync.pipeline import Pipeline

SHORT = replace(TIMEOUTS, lock=timedelta(seconds=1))
Connect = Callable[[], Connection]


def test_a_load_blocked_by_an_idle_transaction_names_it_and_loads_after_its_end(
    pipeline: Pipeline, connect: Connect, database: Endpoint
) -> None:
    pipeline.link(1)
    (ordinal,) = pipeline.plan("run")
    raw_id = pipeline.fetch("run", ordinal)
    pipeline.db.execute(
        "insert into etl.cursors (provider_account_id, feed) values (1, 'transactions_sync') on conflict do nothing"
    )
    holder = connect()
    with holder.transaction(force_rollback=True):
        holder.execute("select value from etl.cursors where feed = 'transactions_sync' for update")
        started = time.monotonic()
        with pytest.raises(WarehouseBusy) as raised, connect_with(database, timeouts=SHORT) as db:
            pipeline.load(raw_id, db=db)
        assert time.monotonic() - started < 4
    message = str(raised.value)
    assert f"pid {holder.info.backend_pid} " in message
    assert "idle in transaction" in message
    assert "its query: select value from etl.cursors where feed = … for update" in message
    with connect_with(database, timeouts=SHORT) as db:
        counts = pipeline.load(raw_id, db=db)
    assert counts.inserted == counts.read > 0


def test_a_load_of_an_entity_without_cursors_names_who_blocks_it(
    pipeline: Pipeline, connect: Connect, database: Endpoint
) -> None:
    pipeline.link(1)
    pipeline.run("run")
    transform(MERCHANTS, 1, db=pipeline.db, root=pipeline.root)
    holder = connect()
    with holder.transaction(force_rollback=True):
        loads.lock_entity(holder, entity="merchants")
        with pytest.raises(WarehouseBusy) as raised, connect_with(database, timeouts=SHORT) as db:
            load(MERCHANTS, 1, db=db, root=pipeline.root)
        assert [blocker.pid for blocker in raised.value.blockers] == [holder.info.backend_pid]
    with connect_with(database, timeouts=SHORT) as db:
        assert load(MERCHANTS, 1, db=db, root=pipeline.root).inserted > 0
