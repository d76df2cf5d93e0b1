"""Statements that select an audience: what would lose or repeat recipients is refused, and totals add up."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from etl.catalog.channels import EMAIL
from etl.db.connection import Connection
from etl.db.statements import Statement
from etl.notify.audience.rules import AudienceInvalid
from etl.notify.audience.totals import TotalsDiffer
from etl.notify.estimate import estimate_run
from etl.notify.report import report_run
from etl.notify.store import chunks, deliveries, recipients
from etl.notify.templates import Templates
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address, stop_logins

Rows = Callable[..., list[tuple[object, ...]]]
Selecting = Callable[..., None]

BOUNDS = "select u.user_id as position from core.users as u"
WHERE = "u.user_id > %(after)s and u.user_id < %(stop)s"
RECIPIENTS = "select {columns} from {tables} where {where} order by {order} limit {limit}"


def columns(position: str = "u.user_id", user_id: str = "u.user_id", dedupe_key: str = "%(period)s::text") -> str:
    return f"{position} as position, {user_id} as user_id, {dedupe_key} as dedupe_key"


@pytest.fixture
def selecting(monkeypatch: pytest.MonkeyPatch, post: NoticeHarness) -> Selecting:
    """Return a function that lets the audience be selected by other statements."""

    def select(
        selected: str = columns(),
        where: str = WHERE,
        order: str = "u.user_id",
        limit: str = "%(limit)s",
        *,
        bounds: str = BOUNDS,
        tables: str = "core.users as u",
        page: str = "",
    ) -> None:
        page = page or RECIPIENTS.format(columns=selected, tables=tables, where=where, order=order, limit=limit)
        own = {"bounds": Statement(bounds), "recipients": Statement(page)}

        def find(statement: Callable[[str, str], Statement]) -> Callable[[str, str], Statement]:
            return lambda file, name: own[name] if file.startswith("notices/") else statement(file, name)

        for module in (recipients, chunks):
            monkeypatch.setattr(module, "statement", find(module.statement))
        monkeypatch.setattr(Templates, "render", lambda *_, **__: dict.fromkeys(("subject", "text", "html"), "Hello"))

    return select


def refusal(post: NoticeHarness) -> str:
    """Return why a run cannot be planned, after checking that nothing was planned."""
    with pytest.raises(AudienceInvalid) as caught:
        post.plan()
    assert post.db.execute("select count(*) from notify.runs").fetchall() == [(0,)]
    return str(caught.value)


def test_statements_that_keep_the_rules_are_planned_and_sent(post: NoticeHarness, selecting: Selecting) -> None:
    users = post.enrol(30, gap=3)
    selecting()
    post.send_all()
    assert dict(post.mailbox.addresses) == {address(user): 1 for user in users}


@pytest.mark.parametrize("users", [2, 30])
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"order": "u.user_id desc"}, r"position \d+ \(user \d+\) after \d+.*let it be ordered by position, ascending"),
        ({"selected": columns(position="null::bigint")}, "a position that is null.*never null"),
        ({"selected": columns(position="u.reference")}, "a position that is of type str.*whole numbers"),
        ({"selected": columns(position="u.user_id::numeric")}, "a position that is of type Decimal.*whole numbers"),
        (
            {"selected": columns(user_id="null::bigint")},
            "a user_id at position 1 that is null; .* core.users",
        ),
        ({"selected": columns(user_id="u.reference")}, "a user_id at position 1 that is of type str"),
        ({"selected": columns(user_id="-u.user_id")}, "a user_id at position 1 that is -1"),
        (
            {"selected": columns(dedupe_key="null::text")},
            "a dedupe_key of user 1 at position 1 that is null.*never null",
        ),
        ({"selected": columns(dedupe_key="''")}, "a dedupe_key of user 1 at position 1 that is empty"),
        ({"where": "u.user_id < %(stop)s and %(after)s is not null"}, r"which is not after %\(after\)s"),
        ({"where": "u.user_id > %(after)s and %(stop)s is not null"}, r"which is not before %\(stop\)s"),
    ],
)
def test_a_plan_names_what_would_lose_or_repeat_recipients(
    post: NoticeHarness, selecting: Selecting, users: int, changes: dict[str, str], problem: str
) -> None:
    post.enrol(users)
    selecting(**changes)
    assert re.match(f"include/sql/notices/monthly_report.sql: `recipients` returned .*{problem}", refusal(post))


def test_a_limit_that_is_ignored_is_named(post: NoticeHarness, selecting: Selecting) -> None:
    post.enrol(30)
    selecting(limit="coalesce(%(limit)s, 99) + 99")
    assert "where at most 5 were asked for; let it end with `limit %(limit)s`" in refusal(post)


@pytest.mark.parametrize(
    ("changes", "statement", "found"),
    [
        ({"bounds": "select 1 as position form x"}, "bounds", 'syntax error at or near "form"'),
        ({"bounds": "select u.position from core.users as u"}, "bounds", "column u.position does not exist"),
        ({"bounds": "select null::bigint as position from core.users"}, "bounds", "null position"),
        ({"bounds": "select nullif(u.user_id, 2) as position from core.users as u"}, "bounds", "null position"),
        ({"bounds": "select 1 / 0 as position"}, "bounds", "DivisionByZero"),
        ({"bounds": "select u.reference as position from core.users as u"}, "bounds", "operator does not exist"),
        ({"where": f"{WHERE} and nothing"}, "recipients", 'column "nothing" does not exist'),
        ({"where": f"{WHERE} and exists (select from no_table)"}, "recipients", 'relation "no_table" does not exist'),
        ({"where": f"{WHERE} and 1 / (u.user_id - u.user_id) > 0"}, "recipients", "DivisionByZero"),
        ({"where": f"{WHERE} and %(threshold)s"}, "recipients", "threshold"),
        ({"where": f"{WHERE} and u.reference = 1"}, "recipients", "operator does not exist"),
    ],
)  # fmt: skip
def test_a_statement_that_fails_is_named_with_its_file(
    post: NoticeHarness, selecting: Selecting, changes: dict[str, str], statement: str, found: str
) -> None:
    post.enrol(3)
    selecting(**changes)
    reason = refusal(post)
    assert reason.startswith(f"include/sql/notices/monthly_report.sql: `{statement}` ")
    assert found in reason


@pytest.mark.parametrize("bounds", [BOUNDS, f"{BOUNDS}, generate_series(1, 3)"])
@pytest.mark.parametrize("where", ["false", "u.user_id %% 3 = 0"])
def test_statements_that_disagree_on_the_number_of_recipients_are_refused(
    post: NoticeHarness, selecting: Selecting, bounds: str, where: str
) -> None:
    post.notice = replace(FAST, chunk_size=100)
    post.enrol(60)
    selecting(where=f"{WHERE} and {where}", bounds=bounds)
    assert "where `bounds` has" in refusal(post)


@pytest.mark.parametrize("page_limit", [1, 2, 3, 1000])
def test_recipients_that_share_a_position_are_all_sent_whatever_the_size_of_pages_and_chunks(
    post: NoticeHarness, selecting: Selecting, db: Connection, page_limit: int
) -> None:
    users = post.enrol(31)
    post.notice = replace(FAST, chunk_size=7)
    selecting(
        columns(position="u.user_id / 5"),
        "u.user_id / 5 > %(after)s and u.user_id / 5 < %(stop)s",
        "position",
        bounds="select u.user_id / 5 as position from core.users as u",
    )
    planned = post.plan()
    db.execute("update notify.chunks set page_limit = %s", [page_limit])
    post.send(planned.run_id, planned.ordinals)
    assert dict(post.mailbox.addresses) == {address(user): 1 for user in users}
    totals = report_run(post.notice, planned.run_id, db=db)
    assert (totals["recipients"], totals["walked"], totals["sent"], totals["repeated"]) == (31, 31, 31, 0)


def test_too_many_recipients_at_one_position_are_refused_before_anything_is_sent(
    post: NoticeHarness, selecting: Selecting
) -> None:
    post.notice = replace(FAST, chunk_size=10_000)
    post.enrol(1_001)
    bounds = "select 7 as position from core.users"
    selecting(columns(position="7::bigint"), "7 > %(after)s and 7 < %(stop)s", bounds=bounds)
    assert "rows with position 7; let positions differ" in refusal(post)


def test_a_page_that_breaks_the_rules_later_is_refused_before_anything_of_it_is_sent(
    post: NoticeHarness, selecting: Selecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.enrol(10)
    selecting()
    planned = post.plan()
    selecting(order="u.user_id desc")
    with pytest.raises(AudienceInvalid, match="ordered by position"):
        post.send(planned.run_id)
    assert post.mailbox.arrived == []


@pytest.mark.parametrize(("leaving", "joining"), [(2, 0), (0, 3), (2, 3)])
def test_totals_add_up_when_recipients_left_or_joined(post: NoticeHarness, leaving: int, joining: int) -> None:
    post.notice = replace(FAST, channels=(EMAIL,), chunk_size=100)
    users = post.enrol(9)
    post.db.execute("update notify.contacts set address = 'nobody' where user_id = %s", [users[5]])
    planned = post.plan()
    for user in users[:leaving]:
        stop_logins(post.db, user)
    post.db.execute("update notify.chunks set stop = stop + %s", [joining])
    post.enrol(joining)
    post.send(planned.run_id)
    totals = report_run(post.notice, planned.run_id, db=post.db)
    assert (totals["recipients"], totals["walked"]) == (9, 9 - leaving + joining)
    assert (totals["sent"], totals["failed"]) == (8 - leaving + joining, 1)


def test_a_run_whose_ledger_lacks_a_message_fails_with_both_numbers(post: NoticeHarness, db: Connection) -> None:
    post.enrol(9)
    planned = post.send_all()
    db.execute("update notify.chunks set sent = sent - 1")
    with pytest.raises(TotalsDiffer, match=r"its 9 recipients on 1 channels are 9 messages, and 8 have an outcome"):
        report_run(post.notice, planned.run_id, db=db)
    assert db.execute("select totals ->> 'sent' from notify.runs").fetchall() == [("8",)]


def test_totals_of_a_run_that_was_planned_before_they_were_counted_are_not_checked(
    post: NoticeHarness, db: Connection
) -> None:
    post.enrol(3)
    planned = post.plan()
    db.execute("update notify.chunks set walked = null")
    post.send(planned.run_id)
    assert report_run(post.notice, planned.run_id, db=db)["chunks_not_counted"] == 1


@pytest.mark.parametrize("page_limit", [1, 3, 1000])
@pytest.mark.parametrize("kill_at", [None, 2, 3])
def test_a_recipient_who_is_twice_in_a_chunk_is_counted_as_repeated_once_on_whatever_page(
    post: NoticeHarness, selecting: Selecting, db: Connection, page_limit: int, kill_at: int | None
) -> None:
    users = post.enrol(5)
    post.notice = replace(FAST, chunk_size=100)
    twice = "generate_series(1, 2) as t (time)"
    position = f"(t.time * 10 + u.user_id - {users[0]})"
    selecting(
        columns(position=position),
        f"{position} > %(after)s and {position} < %(stop)s",
        "position",
        bounds=f"select {position} as position from core.users as u, {twice}",
        tables=f"core.users as u, {twice}",
    )
    planned = post.plan()
    db.execute("update notify.chunks set page_limit = %s", [page_limit])
    if kill_at is not None:
        kill_in_page(post, planned.run_id, kill_at)
    post.send(planned.run_id)
    totals = report_run(post.notice, planned.run_id, db=db)
    assert (totals["walked"], totals["repeated"]) == (10, 5)
    assert totals["sent"] + totals["unknown"] == 5
    assert max(post.mailbox.addresses.values()) == 1


def kill_in_page(post: NoticeHarness, run_id: int, number: int) -> None:
    """Let a sender die in the middle of its page of this number, if it has so many, with its claims left."""
    batches: list[object] = []

    def die(_: object) -> None:
        batches.append(None)
        if len(batches) == number:
            raise KeyboardInterrupt

    post.mailbox.before = die
    with contextlib.suppress(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(deliveries, "record_updates", forget_after(batches, number, deliveries.record_updates))
        patch.setattr(deliveries, "release", lambda *_: None)
        post.send(run_id)
    post.mailbox.before = lambda _: None


def forget_after(batches: Sequence[object], number: int, record_updates: Callable[..., None]) -> Callable[..., None]:
    return lambda *values, **options: None if len(batches) >= number else record_updates(*values, **options)


def test_recipients_that_a_statement_drops_after_its_limit_stop_the_chunk_instead_of_being_lost(
    post: NoticeHarness, selecting: Selecting, db: Connection
) -> None:
    post.enrol(40)
    post.notice = replace(FAST, chunk_size=100)
    selecting()
    planned = post.plan()
    page = RECIPIENTS.format(columns=columns(), tables="core.users as u", where=WHERE, order="1", limit="%(limit)s")
    selecting(page=f"select p.* from ({page}) as p where p.user_id not between 11 and 20")
    db.execute("update notify.chunks set page_limit = 5")
    with pytest.raises(AudienceInvalid, match=r"an empty page after position 10, but 20 recipients without a limit"):
        post.send(planned.run_id)
    assert len(post.mailbox.arrived) == 10


def test_an_estimate_checks_the_statements_too(post: NoticeHarness, selecting: Selecting) -> None:
    post.enrol(30)
    selecting(order="u.user_id desc")
    with pytest.raises(AudienceInvalid, match="ordered by position"):
        estimate_run(post.notice, "2026-10", as_of=datetime.now(UTC), db=post.db)
