"""Workers refuse messages that are no task of a declared Dag bundle."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from sluice_workload_filter import MAX_LENGTH, find_refusal

BUNDLE = {"name": "dags-folder", "version": None}
TASK = {
    "id": str(uuid4()),
    "dag_version_id": str(uuid4()),
    "task_id": "load",
    "dag_id": "etl_accounts",
    "run_id": "scheduled__2026-12-01",
    "try_number": 1,
    "map_index": -1,
    "pool_slots": 1,
    "queue": "etl",
    "priority_weight": 1,
}
GENUINE = {
    "type": "ExecuteTask",
    "token": "eyJ.secret",
    "dag_rel_path": "entities.py",
    "bundle_info": BUNDLE,
    "log_path": "dag_id=etl_accounts/attempt=1.log",
    "sentry_integration": "sentry_sdk.integrations.celery.CeleryIntegration",
    "ti": TASK,
}
CALLBACK = {
    "type": "ExecuteCallback",
    "token": "",
    "dag_rel_path": "entities.py",
    "bundle_info": BUNDLE,
    "log_path": None,
    "callback": {
        "id": str(uuid4()),
        "fetch_method": "import_path",
        "data": {"path": "subprocess.getoutput", "kwargs": {"cmd": "id"}},
    },
}


def message(**changes: Any) -> str:
    return json.dumps({**GENUINE, **changes})


def test_a_task_of_a_declared_bundle_is_accepted() -> None:
    assert find_refusal(message()) is None


def test_a_callback_by_import_path_is_refused() -> None:
    reason = find_refusal(json.dumps(CALLBACK))
    assert reason == "it is a workload of type ExecuteCallback; workers execute tasks only"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"bundle_info": {"name": "foreign", "version": None}}, "its Dag bundle is not declared"),
        ({"bundle_info": {"name": "dags-folder", "version": "1"}}, "it names a version of a Dag bundle that has none"),
        *(
            ({"dag_rel_path": path}, "its Dag file is not in its bundle")
            for path in (
                "/tmp/evil.py",
                "../plugins/sluice_dag.py",
                "a/../../x.py",
                "entities.txt",
                "/proc/self/fd/0",
                "",
            )
        ),
        *(({"log_path": path}, "its log is outside of the logs") for path in ("../../x.log", "/etc/cron.d/x")),
        ({"sentry_integration": "evil.Hook"}, "it names an integration that the scheduler never names"),
    ],
)
def test_a_task_with_a_foreign_part_is_refused(changes: dict[str, object], expected: str) -> None:
    assert find_refusal(message(**changes)) == expected


@pytest.mark.parametrize(
    "text", ["", "{}", "null", "[" * 5_000, '{"type": "RunTrigger"}', message(ti={}), message(type="Other")]
)
def test_what_is_no_workload_is_refused(text: str) -> None:
    assert find_refusal(text) == "it is no workload of Airflow"


def test_an_oversized_message_is_refused_before_it_is_read() -> None:
    assert find_refusal(message(token="x" * MAX_LENGTH)).endswith(f"more than {MAX_LENGTH:,}")  # type: ignore[union-attr]


def test_a_reason_does_not_quote_the_message() -> None:
    texts = [message(dag_rel_path="/tmp/secret.py"), message(bundle_info={"name": "secret"}), '{"secret": 1}']
    assert not any("secret" in (find_refusal(text) or "") for text in texts)


def test_only_the_task_of_airflow_stays_registered() -> None:
    import airflow.providers.celery.executors.celery_executor_utils  # noqa: F401 - registers its task
    from celery import Celery
    from celery.exceptions import Reject

    from sluice_workload_filter import restrict

    executed: list[str] = []
    app = Celery("test", broker="memory://", set_as_current=False)

    # Airflow's task, which every app has once it is imported.
    app.tasks["execute_workload"].run = executed.append
    restrict(app)
    assert list(app.tasks) == ["execute_workload"]
    genuine = message()
    app.tasks["execute_workload"].run(genuine)
    with pytest.raises(Reject):
        app.tasks["execute_workload"].run(json.dumps(CALLBACK))
    assert executed == [genuine]
