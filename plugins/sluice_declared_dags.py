"""The Dags of all declarations. One that cannot be built does not stop the others.

The Dag processor forks for every file that it parses, and its parent loads the plugins once. Only the forks may import
declarations: then they see each edit. `queues.py` is the exception, since workers, pools and command lines follow it
only at a start: until then everything uses the queues of the last start, whatever has become of the file.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.sdk import DAG, get_parsing_context

from etl import catalog_folder
from etl.declare import fault
from etl.declare.entity import Entity
from etl.declare.fault import DeclarationFault
from etl.declare.notice import Notice
from etl.errors import DeclarationError
from sluice_dag import trial

_Declaration = TypeVar("_Declaration", Entity, Notice)

_RESTART = "restart Airflow (`make down demo` on the local stack); until then, the queues of its last start are used"


def build_entity_dags() -> None:
    """Build the Dag of each entity."""
    list(_build_entity_dags())


def build_notice_dags() -> None:
    """Build the Dag of each notice, and the one that sends announcements."""
    list(_build_notice_dags())


def find_faults() -> list[DeclarationFault]:
    """Return the faults of all declarations, including those of Dags that cannot be built of them."""
    from etl.catalog import entities, notices

    with trial():
        return [
            *_queue_faults(),
            *_retention_faults(),
            *entities.FAULTS,
            *notices.FAULTS,
            *_build_entity_dags(),
            *_build_notice_dags(),
        ]


def _build_entity_dags() -> Iterator[DeclarationFault]:
    from etl.catalog.entities import ENTITIES
    from sluice_entity_dags import build_entity_dag, entity_dag_id

    for entity in ENTITIES:
        path = catalog_folder.find().declaration("entities", entity.name)
        yield from _build(build_entity_dag, entity, dag_id=entity_dag_id(entity), path=path)


def _build_notice_dags() -> Iterator[DeclarationFault]:
    from etl.catalog.notices import NOTICES
    from sluice_announce_dag import build_announce_dag
    from sluice_notice_dags import build_notice_dag, notice_dag_id

    for notice in NOTICES:
        path = catalog_folder.find().declaration("notices", notice.name)
        yield from _build(build_notice_dag, notice, dag_id=notice_dag_id(notice), path=path)
    # Always built: cheaper than to check whether it is needed.
    try:
        build_announce_dag()
    except fault.FAILURES as error:
        yield fault.from_error("queues", catalog_folder.find().file("queues.py"), error)


def _build(
    build: Callable[[_Declaration], DAG], declaration: _Declaration, *, dag_id: str, path: Path
) -> Iterator[DeclarationFault]:
    """Build a Dag, unless this is the process of a task of another one; yield the fault if it cannot be built."""
    wanted = get_parsing_context().dag_id
    if wanted not in (None, dag_id):
        return
    try:
        build(declaration)
    except fault.FAILURES as error:
        if wanted == dag_id:
            raise
        if isinstance(error, (AirflowClusterPolicyViolation, DeclarationError)):
            where = f"{type(declaration).__name__.lower()} {declaration.name}"
            yield DeclarationFault(declaration.name, fault.project_path(path), f"{where}: {error}")
        else:
            yield fault.from_error(declaration.name, path, error)


def _queue_faults() -> Iterator[DeclarationFault]:
    from etl.catalog import queues

    path = Path(queues.__file__)
    try:
        current = runpy.run_path(str(path))
        declared = (current["QUEUES"], current["WORKER_GROUPS"])
    except fault.FAILURES as error:
        yield fault.from_error("queues", path, error)
        return
    if declared != (queues.QUEUES, queues.WORKER_GROUPS):
        yield DeclarationFault("queues", fault.project_path(path), f"the queues have changed; {_RESTART}")


def _retention_faults() -> Iterator[DeclarationFault]:
    path = catalog_folder.find().file("retention.py")
    try:
        from etl.catalog import retention  # noqa: F401 - only whether it can be imported
    except fault.FAILURES as error:
        yield fault.from_error("retention", path, error)
