from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.queues import QUEUES
from etl.declare.entity import Entity
from tests.dags.conftest import ROOT
from tests.own_catalog import OwnCatalog

BY_NAME = {queue.name: queue for queue in QUEUES}
HEAVY = ("pandas", "pyarrow", "psycopg", "aiohttp", "redis", "upath")


def tasks(bag: Any) -> list[Any]:
    return [task for dag in bag.dags.values() for task in dag.tasks]


def test_every_entity_is_a_dag_and_none_fails_to_import(bag: Any) -> None:
    assert bag.import_errors == {}
    assert {f"etl_{entity.name}" for entity in ENTITIES} <= bag.dags.keys()


def test_every_task_has_a_timeout_a_declared_queue_and_its_pool(bag: Any) -> None:
    for task in tasks(bag):
        assert timedelta() < task.execution_timeout <= timedelta(hours=6), task
        queue = BY_NAME[task.queue]
        is_planning = task.dag_id.startswith("notify_") and task.task_id == "plan"
        pool = queue.planning_pool or queue.pool if is_planning else queue.pool
        assert task.pool == pool.name, task


def test_every_task_has_a_few_retries(bag: Any) -> None:
    for task in tasks(bag):
        sends_many_chunks = task.dag_id.startswith("notify_") and task.task_id == "send"
        assert 0 < task.retries <= (10 if sends_many_chunks else 5), task


def test_every_python_task_can_be_rescheduled(bag: Any) -> None:
    from sluice_reschedule import reschedule_on_retry_after

    python_tasks = [task for task in tasks(bag) if hasattr(task, "python_callable")]
    assert len(python_tasks) > len(bag.dags)
    code = reschedule_on_retry_after(lambda: None).__code__
    assert [task for task in python_tasks if task.python_callable.__code__ is not code] == []


def test_an_asynchronous_task_is_refused_since_it_would_not_be_rescheduled() -> None:
    from sluice_reschedule import reschedule_on_retry_after

    async def download() -> None: ...

    with pytest.raises(TypeError, match="task download is asynchronous and would not be rescheduled"):
        reschedule_on_retry_after(download)


def test_a_permanent_error_is_not_retried_and_a_transient_one_is(bag: Any) -> None:
    from airflow.sdk import RetryAction

    from etl.errors import ChunkMissing, ProviderUnavailable

    for task in tasks(bag):
        permanent = task.retry_policy.evaluate(ChunkMissing("e", "r", 0), 1, 3)
        transient = task.retry_policy.evaluate(ProviderUnavailable("p", 1, "nothing"), 1, 3)
        assert permanent.action is RetryAction.FAIL
        assert transient.action is not RetryAction.FAIL


def test_chunks_are_processed_depth_first_and_weigh_less_than_more_urgent_queues(bag: Any) -> None:
    dag = bag.dags["etl_transactions"]
    steps = ("download", "store_raw", "transform", "load")
    chain = ("plan", *(f"chunk.{step}" for step in steps), "report", "check_logins")
    weights = [dag.get_task(name).priority_weight for name in chain]
    assert weights == sorted(weights)
    assert len(set(weights)) == len(weights)
    assert all(task.weight_rule == "absolute" for task in dag.tasks)
    more_urgent = [queue.priority * 100 for queue in QUEUES if queue.priority > BY_NAME["etl"].priority]
    assert max(weights) < min(more_urgent)


def test_no_step_after_the_download_uses_all_slots(bag: Any) -> None:
    dag = bag.dags["etl_transactions"]
    slots = BY_NAME["etl"].pool.slots
    assert slots > 1
    assert dag.get_task("chunk.download").max_active_tis_per_dagrun is None
    for name in ("chunk.store_raw", "chunk.transform", "chunk.load"):
        assert dag.get_task(name).max_active_tis_per_dagrun == slots - 1


def test_a_failed_chunk_fails_the_run_and_not_the_report(bag: Any) -> None:
    dag = bag.dags["etl_transactions"]
    assert dag.get_task("report").trigger_rule == "all_done"
    assert dag.get_task("all_loaded").trigger_rule == "all_success"
    assert dag.get_task("all_loaded").upstream_task_ids == {"chunk.load"}


@pytest.mark.parametrize("entity", ["accounts", "transactions"])
def test_a_run_fails_if_its_report_or_its_check_of_logins_does_and_the_check_never_fails_the_report(
    bag: Any, entity: str
) -> None:
    dag = bag.dags[f"etl_{entity}"]
    check = dag.get_task("check_logins")
    assert check.upstream_task_ids == {"report"}
    assert check.trigger_rule == "all_success"
    assert {task.task_id for task in dag.leaves} == {"all_loaded", "check_logins"}


def test_every_dag_has_a_deadline_or_the_tag_that_waives_it(bag: Any) -> None:
    for dag in bag.dags.values():
        assert bool(dag.deadline) != ("no-deadline" in dag.tags), dag
        if dag.deadline:
            assert dag.has_on_success_callback
            assert dag.has_on_failure_callback


@pytest.mark.parametrize("entity", [entity for entity in ENTITIES if entity.deadline], ids=lambda entity: entity.name)
def test_a_run_is_checked_after_half_three_quarters_nine_tenths_and_all_of_its_time(bag: Any, entity: Entity) -> None:
    alerts = bag.dags[f"etl_{entity.name}"].deadline
    assert entity.deadline is not None
    assert [alert.interval / entity.deadline for alert in alerts] == [0.5, 0.75, 0.9, 1.0]
    times_left = [timedelta(seconds=alert.callback.kwargs["seconds_left"]) for alert in alerts]
    assert [alert.interval + left for alert, left in zip(alerts, times_left, strict=True)] == [entity.deadline] * 4
    assert {alert.callback.path for alert in alerts} == {"sluice_alerts.on_deadline"}


def test_the_reference_of_the_deadlines_is_registered_with_airflow(bag: Any) -> None:
    from airflow.plugins_manager import get_deadline_references_plugins

    assert "sluice_deadline.RunDue" in get_deadline_references_plugins()


def test_merchants_are_read_from_raw_batches_of_transactions(bag: Any) -> None:
    dag = bag.dags["etl_merchants"]
    assert {task.task_id for task in dag.tasks} == {"plan", "chunk.transform", "chunk.load", "report", "all_loaded"}
    assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["transactions"]


def test_runs_of_a_dag_overlap_only_if_it_sends_notices_and_missed_runs_are_not_caught_up(bag: Any) -> None:
    for dag in bag.dags.values():
        assert (dag.max_active_runs == 1) == (not dag.dag_id.startswith("notify_"))
        assert dag.catchup is False


@pytest.mark.parametrize(
    ("file", "dag_id", "others"),
    [("entities", "etl_accounts", set()), ("notices", "notify_low_balance", {"notify_now"})],
)
def test_the_process_of_a_task_builds_few_dags_besides_its_own(
    monkeypatch: pytest.MonkeyPatch, file: str, dag_id: str, others: set[str]
) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.definitions.context import _AIRFLOW_PARSING_CONTEXT_DAG_ID

    monkeypatch.setenv(_AIRFLOW_PARSING_CONTEXT_DAG_ID, dag_id)
    assert DagBag(str(ROOT / "dags" / f"{file}.py")).dags.keys() == {dag_id, *others}


@pytest.mark.parametrize("catalog", ["shipped", "own"])
def test_plugins_import_no_declarations_but_queues(bag: Any, tmp_path: Path, catalog: str) -> None:
    own = OwnCatalog(tmp_path).reexport_all()
    own.write("queues.py", (ROOT / "include/etl/catalog/queues.py").read_text())
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'plugins')!r}, {str(ROOT / 'include')!r}]\n"
        "import airflow\n"
        "from importlib import import_module\n"
        "from pathlib import Path\n"
        f"for path in Path({str(ROOT / 'plugins')!r}).glob('*.py'): import_module(path.stem)\n"
        "print(*(name for name in sys.modules if name.startswith(('etl.catalog.', 'catalog'))))\n"
    )
    done = own.python("-c", script, environment=own.environment() if catalog == "own" else os.environ)
    assert done.stdout.splitlines()[-1] == "etl.catalog.queues"


def test_a_worker_preloads_steps_but_no_declarations(bag: Any) -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'plugins')!r}, {str(ROOT / 'include')!r}]\n"
        "from importlib import import_module\n"
        "import airflow\n"
        "from sluice_celery_config import PRELOADED\n"
        "for module in PRELOADED: import_module(module)\n"
        "from etl.db.statements import statements\n"
        "print(*(name for name in sys.modules if name.startswith('etl.catalog.')))\n"
        "print(statements.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    declarations, statement_files_read = done.stdout.splitlines()[-2:]
    assert declarations == "etl.catalog.queues"
    assert statement_files_read == "0"


def test_preloaded_modules_are_excluded_from_garbage_collection(bag: Any) -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'plugins')!r}, {str(ROOT / 'include')!r}]\n"
        "import gc, airflow, sluice_celery_config\n"
        "sluice_celery_config.exit_if_misconfigured = lambda: None\n"
        "sluice_celery_config.prepare_worker()\n"
        "print(gc.get_freeze_count() > 100 * len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("path", sorted((ROOT / "dags").glob("*.py")), ids=lambda path: path.stem)
def test_parsing_a_dag_file_imports_nothing_heavy(path: Any, bag: Any) -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'plugins')!r}, {str(ROOT / 'include')!r}]\n"
        "import airflow, airflow.sdk\n"
        "import airflow.providers.standard.operators.empty\n"
        "before = set(sys.modules)\n"
        f"import runpy; runpy.run_path({str(path)!r})\n"
        f"print([name for name in {HEAVY!r} if name in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
