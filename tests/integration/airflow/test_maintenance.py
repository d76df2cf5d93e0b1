"""The Dag `maintenance`, run by the scheduler on Celery workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack
from etl.db.connection import connect_warehouse
from etl.settings import Settings
from tests.integration.airflow.conftest import wait_for_end

Rows = Callable[..., list[tuple[object, ...]]]
STEPS = (
    *("purge_raw", "purge_orphans", "purge_typed", "purge_unfinished", "purge_rows", "purge_deliveries"),
    *("clean_metadata", "analyze"),
)
PATH = f"raw/retired/00/{'0' * 64}.zst"
OLD_BATCH = """
with chunk as (
    insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size)
    values ('retired', 'r', 0, 1, 2, 1)
    returning chunk_id
),
batch as (
    insert into etl.raw_batches (source, chunk_id, attempt, content_hash, path, accounts, pages, bytes, sealed_at)
    select 'retired', chunk_id, 1, repeat('0', 64), %s, 0, 0, 0, now() - '500 days'::interval
    from chunk
    returning raw_id
)
insert into etl.loads select raw_id, 'retired', 1, 0, 0, 0, 0, 0, 0, 0, 0 from batch
"""
COPY = """
create temp table copied as select * from dag_run where run_id = %(of)s;
update copied set
    id = nextval('dag_run_id_seq'),
    dag_id = 'etl_accounts',
    run_id = %(run_id)s,
    run_type = 'scheduled',
    created_dag_version_id = null,
    logical_date = now() - %(age)s::interval,
    start_date = now() - %(age)s::interval;
insert into dag_run select * from copied;
drop table copied;
"""


@dataclass(frozen=True)
class Runs:
    """A dry run and a real run of maintenance; after each, the runs of another Dag and the number of old files left."""

    dry: DagRun
    left_by_dry: tuple[list[str], int]
    real: DagRun
    left_by_real: tuple[list[str], int]


@pytest.fixture(scope="module")
def runs(airflow_stack: Stack) -> Runs:
    root = Path(Settings.from_environment(airflow_stack.environment).raw_root.removeprefix("file://"))
    with AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api:
        api.wait_for_dag("maintenance")
        first = wait_for_end(api, "maintenance", api.start_run("maintenance"))
        with connect_warehouse(airflow_stack.environment) as db:
            db.execute(OLD_BATCH, (PATH,))
        write(root / PATH, b"x" * 2_048)
        page = write(root / "landing/999/1/1/000000", b"")
        os.utime(page, (time.time() - 3 * 86_400,) * 2)
        with psycopg.connect(airflow_stack.metadata_url, autocommit=True) as metadata:
            for run_id, age in (("older", "300 days"), ("latest", "200 days")):
                for text in COPY.strip().split(";\n"):
                    metadata.execute(text.encode(), {"of": first.run_id, "run_id": run_id, "age": age})
            dry = wait_for_end(api, "maintenance", api.trigger("maintenance", dry_run=True, unheard_of=[1]))
            left_by_dry = remaining(metadata, root / PATH, page)
            real = wait_for_end(api, "maintenance", api.trigger("maintenance"))
            return Runs(dry, left_by_dry, real, remaining(metadata, root / PATH, page))


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def remaining(metadata: psycopg.Connection[tuple[object, ...]], *paths: Path) -> tuple[list[str], int]:
    run_ids = metadata.execute("select run_id from dag_run where dag_id = 'etl_accounts' order by 1").fetchall()
    return [str(run_id) for (run_id,) in run_ids], sum(path.exists() for path in paths)


def test_its_steps_succeed_on_the_maintenance_queue(runs: Runs, metadata: Rows) -> None:
    for run in (runs.dry, runs.real):
        assert run.state == "success"
        states = metadata(
            "select task_id, queue, pool, state from task_instance "
            "where run_id = %s and task_id <> 'all_done' order by 1",
            run.run_id,
        )
        expected = sorted((*STEPS, "report"))
        assert states == [(step, "maintenance", "maintenance", "success") for step in expected]


def test_a_dry_run_removes_nothing_and_a_real_run_what_it_reports(runs: Runs) -> None:
    assert runs.left_by_dry == (["latest", "older"], 2)
    assert runs.left_by_real == (["latest"], 0)


@pytest.mark.parametrize(
    ("which", "start"), [("dry", "nothing was removed; without dry run it would have been "), ("real", "removed ")]
)
def test_the_report_counts_what_was_removed(runs: Runs, metadata: Rows, which: str, start: str) -> None:
    run: DagRun = getattr(runs, which)
    ((sentence,),) = metadata("select value #>> '{}' from xcom where run_id = %s and task_id = 'report'", run.run_id)
    assert str(sentence).startswith(f"{start}1 raw batches, 1 raw objects (2.0 KiB), 1 landing pages, ")
    assert "1 rows of Airflow's metadata" in str(sentence)
