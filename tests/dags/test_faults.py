"""Effects of a wrong declaration on Airflow's Dag processor, its database and its scheduler's query."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from tests.project_copy import ProjectCopy

_SNAPSHOT = """
import json
from airflow.models.dag import DagModel
from airflow.models.errors import ParseImportError
from airflow.utils.session import create_session
from sqlalchemy import select

with create_session() as session:
    dags, _ = DagModel.dags_needing_dagruns(session)
    current = session.scalars(select(DagModel.dag_id).where(~DagModel.is_stale, ~DagModel.has_import_errors))
    errors = session.execute(select(ParseImportError.filename, ParseImportError.stacktrace))
    print(json.dumps({
        "due": sorted(dag.dag_id for dag in dags), "current": sorted(current), "errors": dict(map(tuple, errors)),
    }))
"""
TIMED = [f"notify_{notice.name}" for notice in NOTICES if isinstance(notice.schedule, str)]
NOTIFY = ["notify_now", *(f"notify_{notice.name}" for notice in NOTICES)]
SYNC = [f"etl_{entity.name}" for entity in ENTITIES]
ALL = sorted([*SYNC, "maintenance", *NOTIFY])
DUE = sorted(["maintenance", *(f"etl_{each.name}" for each in ENTITIES if isinstance(each.schedule, str)), *TIMED])


@dataclass(frozen=True)
class Snapshot:
    """State of Airflow's database after all Dag files were parsed.

    Parameters
    ----------
    due
        Dags of which the scheduler would start a run.
    current
        Dags that are not stale and have no import error.
    errors
        Dag file → import error.
    """

    due: list[str]
    current: list[str]
    errors: dict[str, str]


class Airflow:
    """Airflow with its own metadata database, filled by the Dag processor from a copy of the project."""

    def __init__(self, copy: ProjectCopy) -> None:
        self.copy = copy
        self.environment = {
            **copy.environment(),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{copy.folder}/airflow.db",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL": "0",
            "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "0",
            "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "3",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "0",
        }
        self.run("db", "migrate")

    def run(self, *arguments: str, check: bool = True) -> str:
        return self.copy.python("-m", "airflow", *arguments, environment=self.environment, check=check).stdout

    def read(self) -> Snapshot:
        self.run("dag-processor", "--num-runs", "1")
        output = self.copy.python("-c", _SNAPSHOT, environment=self.environment).stdout
        return Snapshot(**json.loads(output.splitlines()[-1]))


@dataclass(frozen=True)
class Stages:
    good: Snapshot
    wrong: Snapshot
    fixed: Snapshot
    import_errors: list[dict[str, Any]]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """Return the state of Airflow before, while and after three declarations are wrong."""
    copy = ProjectCopy.make(tmp_path_factory.mktemp("project") / "copy")
    airflow = Airflow(copy)
    good = airflow.read()
    transactions = copy.declaration("transactions")
    original = transactions.read_text()
    transactions.write_text(original.replace("chunk_size=50", "chunk_size=0"))
    copy.declaration("misspelt").write_text("from etl.declare.entity import Entty\n")
    # It is declared correctly, but breaks a rule for Dags.
    accounts = copy.declaration("accounts").read_text().replace('name="accounts"', 'name="slow"')
    unserved = 'queue=Queue("unserved", priority=1, group=ETL.group, slots=1, memory=9, summary="")'
    imported = accounts.replace("\n\nACCOUNTS", "\nfrom etl.declare.queue import Queue\n\nACCOUNTS")
    copy.declaration("slow").write_text(imported.replace("queue=ETL", unserved))
    copy.sql("slow").write_text(copy.sql("accounts").read_text())
    wrong = airflow.read()
    import_errors = json.loads(
        airflow.run("dags", "list-import-errors", "--output", "json", check=False).splitlines()[-1]
    )
    transactions.write_text(original)
    copy.declaration("misspelt").unlink()
    copy.declaration("slow").unlink()
    return Stages(good, wrong, airflow.read(), import_errors)


def test_correct_declarations_cause_no_import_error(stages: Stages) -> None:
    assert stages.good == Snapshot(due=DUE, current=ALL, errors={})


def test_a_wrong_declaration_stops_its_own_dag_and_no_other(stages: Stages) -> None:
    assert stages.wrong.current == [dag_id for dag_id in ALL if dag_id != "etl_transactions"]
    assert stages.wrong.due == [dag_id for dag_id in DUE if dag_id != "etl_transactions"]


def test_each_fault_is_listed_with_its_file_line_field_and_fix(stages: Stages) -> None:
    (import_error,) = stages.import_errors
    assert import_error["filepath"] == "declarations.py"
    entities = "include/etl/catalog/entities"
    *_, first, second, third, end = import_error["error"].split("\n")
    assert first.startswith(f"- {entities}/misspelt.py:1: ImportError: cannot import name 'Entty' from")
    assert first.endswith("; fix the import")
    assert second.startswith(f"- {entities}/transactions.py:")
    assert second.endswith(": entity transactions: chunk_size is 0; it must be at least 1")
    assert third.startswith(f"- {entities}/slow.py: entity slow: Task etl_slow.")
    assert "is on the queue 'unserved', which no worker serves" in third
    assert end == ""
    assert stages.wrong.errors == {"declarations.py": import_error["error"]}


def test_a_fixed_declaration_has_its_dag_again(stages: Stages) -> None:
    assert stages.fixed == stages.good
