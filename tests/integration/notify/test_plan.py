"""Planning: the database cuts the audience by rank, and a bad template stops the run before anything is sent."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from etl import catalog_folder
from etl.db.connection import Connection
from etl.notify.templates import TemplateBroken, Templates
from tests.integration.notify.notice_harness import FAST, NoticeHarness, enrol

Rows = Callable[..., list[tuple[object, ...]]]


def write_templates(tmp_path: Path, **parts: str) -> Templates:
    folder = tmp_path / FAST.name
    folder.mkdir()
    for name in FAST.template_names:
        part = name.split(".")[1]
        (folder / name).write_text(parts.get(part, (catalog_folder.SHIPPED / "notices" / FAST.name / name).read_text()))
    return Templates(FAST, tmp_path)


def test_gaps_in_the_ids_do_not_make_chunks_uneven(post: NoticeHarness, db: Connection, rows: Rows) -> None:
    enrol(db, 50)
    enrol(db, 50, gap=1_000_000)
    post.notice = replace(FAST, chunk_size=10)
    planned = post.plan()
    assert planned.ordinals == list(range(10))
    assert rows("select distinct recipients from notify.chunks") == [(10,)]
    (overlaps,) = rows(
        "select count(*) from notify.chunks as a inner join notify.chunks as b "
        "on a.ordinal < b.ordinal and a.stop > b.start"
    )
    assert overlaps == (0,)


def test_there_are_never_more_chunks_than_declared(post: NoticeHarness, rows: Rows) -> None:
    post.enrol(103)
    post.notice = replace(FAST, chunk_size=1, max_chunks=20)
    assert len(post.plan().ordinals) == 20
    assert rows("select min(recipients), max(recipients), sum(recipients) from notify.chunks") == [(5, 6, 103)]


def test_run_without_recipients_is_done_at_once(post: NoticeHarness) -> None:
    planned = post.plan()
    assert planned.ordinals == []
    assert post.run(planned.run_id).state == "done"


def test_second_plan_returns_the_unfinished_chunks(post: NoticeHarness) -> None:
    post.enrol(25)
    planned = post.plan()
    post.send(planned.run_id, [1])
    post.enrol(10)
    assert post.plan().ordinals == [0, 2]


@pytest.mark.parametrize(
    ("part", "text", "error"),
    [
        ("text", "fine\n{% if %}", r"email\.text\.jinja:2: Expected an expression"),
        ("html", "fine\nfine\n{{ salary }}", r"email\.html\.jinja:3: UndefinedError: 'salary' is undefined"),
        ("subject", "{{ ''.__class__.__mro__ }}", r"email\.subject\.jinja:1: SecurityError: access to attribute"),
    ],
)
def test_broken_template_stops_the_run_and_names_its_line(
    post: NoticeHarness, rows: Rows, tmp_path: Path, *, part: str, text: str, error: str
) -> None:
    post.enrol(3)
    with pytest.raises(TemplateBroken, match=error):
        post.plan(templates=write_templates(tmp_path, **{part: text}))
    assert rows("select count(*) from notify.runs") == [(0,)]


def test_template_is_checked_with_recipients_of_the_whole_range(
    post: NoticeHarness, db: Connection, tmp_path: Path
) -> None:
    users = post.enrol(40)
    post.notice = replace(FAST, chunk_size=4)
    with pytest.raises(TemplateBroken):
        post.plan(
            templates=write_templates(tmp_path, text=f"{{% if user_id > {users[-5]} %}}{{{{ salary }}}}{{% endif %}}")
        )


def test_the_planner_needs_no_more_memory_for_more_recipients(post: NoticeHarness, db: Connection) -> None:
    peaks = []
    for number, users in enumerate((1_000, 100_000)):
        enrol(db, users)
        tracemalloc.start()
        post.plan(f"2026-0{number + 1}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    few, many = peaks
    assert many < few + 1_000_000
