"""`sluice notify` with statements, templates and declarations that are broken: one sentence, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from etl import catalog_folder
from tests.integration.cli.conftest import Command
from tests.integration.notify.notice_harness import NoticeHarness
from tests.own_catalog import OwnCatalog

Rows = Callable[..., list[tuple[object, ...]]]
SQL = """-- name: bounds
-- All users.
select u.user_id as position from core.users as u where {bounds};

-- name: recipients
-- All users, a page at a time.
select u.user_id as position, u.user_id, %(period)s::text as dedupe_key
from core.users as u
where u.user_id > %(after)s and u.user_id < %(stop)s and {recipients}
order by u.user_id
limit %(limit)s;
"""
NOTICE = """from etl.catalog.channels import EMAIL
from etl.catalog.queues import EMAILS
from etl.declare.notice import Category, Consent, Notice, UnknownPolicy

HELLO = Notice(
    name="hello",
    summary="Says hello.",
    channels=(EMAIL,),
    category=Category("news", Consent.OPT_OUT),
    queue=EMAILS,
    pace=100,
    period="%Y-%m",
    unknown=UnknownPolicy.HOLD,
)
"""


@pytest.fixture
def hello(tmp_path: Path, post: NoticeHarness) -> OwnCatalog:
    """Return a catalogue with one notice, and add three users."""
    post.enrol(3)
    catalog = OwnCatalog(tmp_path / "catalog")
    catalog.write("notices/hello/notice.py", NOTICE)
    for part in ("subject", "text", "html"):
        catalog.write(f"notices/hello/email.{part}.jinja", "Hello {{ user_id }}")
    return catalog


def in_one_line(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("command", "condition", "found"),
    [
        (("plan", "hello"), "nonsense", 'column "nonsense" does not exist'),
        (("plan", "hello"), "and", "syntax error"),
        (("plan", "hello"), "u.reference = 1", "operator does not exist"),
        (("preview", "hello", "--user", "1"), "1 / (u.user_id - 1) > 0", "DivisionByZero"),
        (("preview", "hello", "--user", "1"), "exists (select from no_table)", 'relation "no_table" does not exist'),
    ],
)
def test_a_broken_statement_is_named_with_its_file(
    etl: Command, hello: OwnCatalog, command: tuple[str, ...], condition: str, found: str
) -> None:
    file = hello.write("sql/notices/hello.sql", SQL.format(bounds="true", recipients=condition))
    done = etl("notify", *command, **{catalog_folder.VARIABLE: str(hello.folder)})
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {file}: `recipients` fails: ")
    assert found in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_notice_that_is_declared_wrongly_is_called_left_out(etl: Command, hello: OwnCatalog) -> None:
    hello.write("sql/notices/hello.sql", SQL.format(bounds="true", recipients="true"))
    template = hello.folder / "notices" / "hello" / "email.text.jinja"
    template.unlink()
    done = etl("notify", "plan", "hello", **{catalog_folder.VARIABLE: str(hello.folder)})
    assert done.returncode == 2
    assert f"{template} is missing; write the template" in in_one_line(done.stderr)
    assert "notice hello is left out, since it is declared wrongly; the warning says how" in in_one_line(done.stderr)


def test_a_run_of_a_notice_that_is_not_declared_any_more_is_shown_and_can_be_cancelled(
    etl: Command, hello: OwnCatalog, post: NoticeHarness
) -> None:
    hello.write("sql/notices/hello.sql", SQL.format(bounds="true", recipients="true"))
    run = str(post.plan().run_id)
    commands = (("status", run), ("cancel", run))
    done = [etl("notify", *each, **{catalog_folder.VARIABLE: str(hello.folder)}) for each in commands]
    assert [(each.returncode, each.stderr) for each in done] == [(0, ""), (0, "")]
