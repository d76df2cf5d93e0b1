"""A notice is added as CONTRIBUTING.md says, to a copy of the project: a declaration, its SQL and its templates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.stack.stack import Stack
from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from etl.db.connection import Connection
from etl.settings import Endpoint
from tests.integration.new_declarations.examples import examples
from tests.integration.notify.notice_harness import address, enrol
from tests.project_copy import ProjectCopy

Send = Callable[[str], dict[str, dict[str, str]]]
SECTION = "Add a notice"


@pytest.fixture
def project(tmp_path: Path) -> ProjectCopy:
    copy = ProjectCopy.make(tmp_path / "project")
    (declaration,), (sql,) = (examples(SECTION, language) for language in ("python", "sql"))
    path = copy.declaration("login_stopped", of="notices")
    path.parent.mkdir()
    path.write_text(declaration)
    copy.sql("login_stopped", of="notices").write_text(sql)
    for name, text in zip(("subject", "text", "html"), examples(SECTION, "jinja"), strict=True):
        copy.template("login_stopped", f"email.{name}.jinja").write_text(text)
    return copy


@pytest.fixture
def environment(project: ProjectCopy, stack: Stack, database: Endpoint) -> dict[str, str]:
    stack_connection = json.loads(stack.environment["AIRFLOW_CONN_WAREHOUSE"])
    connection = json.dumps({**stack_connection, "schema": database.schema})
    return {**project.environment(stack.environment), "AIRFLOW_CONN_WAREHOUSE": connection}


@pytest.fixture
def send(project: ProjectCopy, environment: dict[str, str]) -> Send:
    """Return a function that sends the notice for a period, and returns what arrived."""

    def send_period(period: str) -> dict[str, dict[str, str]]:
        module = ("-m", "tests.integration.new_declarations.notify", "login_stopped", period)
        arrived: dict[str, dict[str, str]] = json.loads(project.python(*module, environment=environment).stdout)
        return arrived

    return send_period


def test_a_declaration_its_sql_and_its_templates_make_a_notice_that_is_sent(send: Send, db: Connection) -> None:
    stopped, _, stopped_long_ago = enrol(db, 3)
    stop = "update core.provider_accounts set state = 'needs_login', state_since = now() - %s * interval '1 day'"
    for user, days in ((stopped, 1), (stopped_long_ago, 30)):
        db.execute(f"{stop} where user_id = %s".encode(), (days, user))
    arrived = send("first")
    assert arrived.keys() == {address(stopped)}
    parts = arrived[address(stopped)]
    assert parts["subject"] == "Your bank wants you to log in again"
    assert parts["text"].startswith("Since ")
    assert "<h1" in parts["html"]
    assert send("second") == {}
    db.execute(f"{stop} where user_id = %s".encode(), (0, stopped))
    assert send("third").keys() == {address(stopped)}


def test_a_wrong_notice_is_skipped_and_the_others_are_kept(project: ProjectCopy, environment: dict[str, str]) -> None:
    path = project.declaration("login_stopped", of="notices")
    path.write_text(path.read_text().replace('After("accounts")', 'After("account")'))
    described = project.python("-m", "etl", "describe", environment=environment)
    assert [notice["name"] for notice in json.loads(described.stdout)["notices"]] == [notice.name for notice in NOTICES]
    assert described.stderr.startswith(
        "warning: include/etl/catalog/notices/login_stopped/notice.py: notice login_stopped: schedule names 'account', "
        f"which no file declares; name one of {', '.join(sorted(entity.name for entity in ENTITIES))}"
    )
