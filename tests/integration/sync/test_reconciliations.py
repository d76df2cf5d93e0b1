"""A full read ends a row only on evidence, many rows only after approval, and none for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import count
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.errors import RawPurged
from etl.sync.report import report
from etl.sync.resync import NothingToDecide, approve, revoke
from etl.sync.store import reconciliations
from etl.sync.store.reconciliations import Reconciliation, must_wait
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
READ_ON = LATER.date()
AGES = (0, 1, 30, 89, 90, 91, 400, 729, 730, 731, 1_500)
OUTLIERS = (date(1, 1, 1), date(2021, 5, 5), READ_ON - timedelta(days=730), READ_ON + timedelta(days=20))
RUNS = count()
Fate = Literal["sent", "absent", "rejected", "held", "posted", "seen later"]


@dataclass(frozen=True)
class Row:
    """A live row, and what becomes of it in the full read."""

    account_id: str
    age: int
    fate: Fate

    @property
    def dated_on(self) -> date:
        return READ_ON - timedelta(days=self.age)


@dataclass(frozen=True)
class Case:
    """A login with its rows, and a full read with what else it brings."""

    rows: tuple[Row, ...]
    outliers: tuple[tuple[str, date], ...]
    has_nameless_reject: bool
    promise: int | None

    def record(self, number: int, **changes: object) -> dict[str, object]:
        row = self.rows[number]
        return transaction(
            transaction_id=f"t{number}",
            account_id=row.account_id,
            date=str(row.dated_on),
            pending=row.fate in ("held", "posted"),
            **changes,
        )

    def first_page(self) -> bytes:
        return page(added=[self.record(number) for number in range(len(self.rows))])

    def window(self) -> bytes:
        records = [self.record(number, name="SEEN LATER") for number in self.with_fate("seen later")]
        return msgspec.json.encode({"transactions": records, "total_transactions": len(records)})

    def full_read(self) -> bytes:
        sent = [self.record(number) for number in self.with_fate("sent")]
        sent += [self.record(number, iso_currency_code="???") for number in self.with_fate("rejected")]
        for fate, currency in (("held", "???"), ("posted", "USD")):
            sent += [
                transaction(
                    transaction_id=f"p{number}",
                    account_id=self.rows[number].account_id,
                    date=str(self.rows[number].dated_on),
                    pending_transaction_id=f"t{number}",
                    iso_currency_code=currency,
                )
                for number in self.with_fate(fate)
            ]
        sent += [
            transaction(transaction_id=f"o{number}", account_id=account_id, date=str(day))
            for number, (account_id, day) in enumerate(self.outliers)
        ]
        if self.has_nameless_reject:
            sent.append(transaction(transaction_id=None))
        return page(added=sent)

    def with_fate(self, fate: str) -> list[int]:
        return [number for number, row in enumerate(self.rows) if row.fate == fate]

    def oldest_sent(self) -> dict[str, date]:
        """Return the oldest day that the read has of each account."""
        days = [(row.account_id, row.dated_on) for row in self.rows if row.fate in ("sent", "posted")]
        oldest: dict[str, date] = {}
        for account_id, day in [*days, *self.outliers]:
            oldest[account_id] = min(day, oldest.get(account_id, day))
        return oldest

    def absent(self) -> set[str]:
        """Return the rows that the read proves to be gone."""
        oldest = self.oldest_sent()
        if self.promise is None or self.has_nameless_reject or not oldest:
            return set()
        return {
            f"t{number}"
            for number, row in enumerate(self.rows)
            if row.fate == "absent"
            and row.age <= self.promise
            and row.account_id in oldest
            and row.dated_on >= oldest[row.account_id]
        }

    def must_wait(self) -> bool:
        live = len(self.rows) + len(self.outliers)
        return len(self.absent()) > 5 and len(self.absent()) * 10 > live

    def is_said(self) -> bool:
        """Return whether something was not reconciled that a person should know of."""
        oldest = self.oldest_sent()
        if self.promise is None or self.has_nameless_reject or not oldest:
            return True
        return any(
            row.age <= self.promise
            and (
                row.fate in ("rejected", "held")
                or (row.fate == "absent" and (row.account_id not in oldest or row.dated_on < oldest[row.account_id]))
            )
            for row in self.rows
        )


CASES = st.builds(
    Case,
    rows=st.lists(
        st.builds(
            Row,
            account_id=st.sampled_from("abc"),
            age=st.sampled_from(AGES),
            fate=st.sampled_from(
                ("sent", "sent", "sent", "absent", "absent", "rejected", "held", "posted", "seen later")
            ),
        ),
        min_size=1,
        max_size=25,
    ).map(tuple),
    outliers=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(OUTLIERS)), max_size=3).map(tuple),
    has_nameless_reject=st.sampled_from((False, False, False, False, True)),
    promise=st.sampled_from((730, 730, 90, None)),
)
FEW = tuple(Row("a", age, "absent") for age in (1, 30, 89, 90, 400))
MANY = (*FEW, Row("a", 729, "absent"))
SENT = Row("a", 730, "sent")
OLD = tuple(Row("a", 1_500, "absent") for _ in range(24))


@dataclass
class Login:
    """A login whose feed is read in full, in one batch with another login."""

    pipeline: Pipeline
    case: Case
    account: int
    other: int
    batches: list[int]

    def load(self, *pages: tuple[int, bytes], hours: int, moves: str, source: str = "transactions_sync") -> int:
        runner = replace(self.pipeline, source=source)
        raw_id = runner.seal_pages(
            *pages,
            run_id=f"run {next(RUNS)}",
            at=FIRST + timedelta(hours=hours),
            moves=moves,
            whole={self.account} if moves == "a>b" else False,
        )
        runner.load(raw_id)
        self.batches.append(raw_id)
        return raw_id

    def states(self, columns: str = "transaction_id, removed_for") -> dict[str, Any]:
        query = f"select {columns} from core.transactions where provider_account_id = %s order by transaction_id"
        return {row[0]: row[1:] for row in self.pipeline.db.execute(query.encode(), [self.account]).fetchall()}

    def reconciliation(self) -> Reconciliation:
        (found,) = [
            each
            for each in reconciliations.latest(self.pipeline.db, limit=1_000)
            if each.provider_account_id == self.account
        ]
        return found

    def decide(self, decision: Callable[..., list[Reconciliation]]) -> None:
        decision(
            [self.account],
            entities={TRANSACTIONS.name: self.pipeline.entity},
            db=self.pipeline.db,
            root=self.pipeline.root,
        )


def read_twice(pipeline: Pipeline, case: Case) -> Login:
    """Load a login and then its full read, beside a login that is read from its cursor."""
    pipeline.db.execute("update core.provider_accounts set state = 'suspended', state_since = now()")
    account, other = pipeline.enrol(f"one {next(RUNS)}", f"two {next(RUNS)}")
    pipeline.db.execute(
        "update core.provider_accounts set history_days = %s where provider_account_id = %s", [case.promise, account]
    )
    login = Login(pipeline, case, account, other, [])
    login.load((account, case.first_page()), (other, case.first_page()), hours=0, moves=">a")
    if case.with_fate("seen later"):
        login.load((account, case.window()), hours=2, moves=">", source="transactions_get")
    return login


ALL = "transaction_id, to_jsonb(transactions)"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=CASES)
@example(case=Case((*FEW, SENT), (), has_nameless_reject=False, promise=730))
@example(case=Case((*MANY, SENT), (), has_nameless_reject=False, promise=730))
@example(case=Case((*MANY, *[SENT] * 53), (), has_nameless_reject=False, promise=730))
@example(case=Case((*MANY, *[SENT] * 54), (), has_nameless_reject=False, promise=730))
@example(case=Case((*OLD, SENT), (("a", date(1, 1, 1)),), has_nameless_reject=False, promise=730))
@example(case=Case((*OLD, SENT), (("a", date(2021, 5, 5)),), has_nameless_reject=False, promise=730))
@example(case=Case((*FEW, SENT), (), has_nameless_reject=True, promise=730))
@example(case=Case((*FEW, SENT), (), has_nameless_reject=False, promise=None))
@example(case=Case(FEW, (), has_nameless_reject=False, promise=730))
@example(case=Case((*FEW, Row("b", 1, "sent")), (), has_nameless_reject=False, promise=730))
@example(
    case=Case((*FEW, SENT, Row("a", 1, "rejected"), Row("a", 1, "held")), (), has_nameless_reject=False, promise=730)
)
@example(case=Case((*FEW, SENT, Row("a", 1, "seen later")), (), has_nameless_reject=False, promise=730))
def test_a_full_read_ends_what_is_proved_and_replays_decisions_and_revocations_keep_to_it(
    pipeline: Pipeline, case: Case
) -> None:
    login = read_twice(pipeline, case)
    before = login.states(ALL)
    change = transaction(transaction_id="new", account_id=case.rows[0].account_id, date="2020-01-01")
    login.load((login.account, case.full_read()), (login.other, page(added=[change])), hours=1, moves="a>b")
    found = login.reconciliation()
    assert (found.state, found.absent, bool(found.skipped)) == (
        "pending" if case.must_wait() else "applied",
        len(case.absent()),
        case.is_said(),
    )
    event(f"{found.state}, {'some' if found.absent else 'none'} absent")
    others = "select count(*) from core.transactions where provider_account_id = %s and removed_at is not null"
    assert pipeline.db.execute(others, [login.other]).fetchone() == (0,)

    def assert_ended(ended: set[str]) -> None:
        posted = {f"t{number}": ("posted",) for number in case.with_fate("posted")}
        expected = {key: ("absent",) if key in ended else posted.get(key, (None,)) for key in login.states()}
        assert login.states() == expected

    assert_ended(set() if case.must_wait() else case.absent())
    after = login.states(ALL)
    for raw_id in reversed(login.batches):
        pipeline.replay(raw_id)
    assert login.states(ALL) == after
    if case.must_wait():
        login.decide(approve)
        assert_ended(case.absent())
    if case.absent():
        login.decide(revoke)
        assert_ended(set())
        assert {key: login.states(ALL)[key] for key in case.absent()} == {key: before[key] for key in case.absent()}
        for raw_id in login.batches:
            pipeline.replay(raw_id)
        assert_ended(set())
        pipeline.db.execute("delete from core.transactions where provider_account_id = %s", [login.account])
        for raw_id in login.batches:
            pipeline.replay(raw_id)
        assert_ended(set())


def case_of(*rows: Row) -> Case:
    return Case((*rows, SENT), (), has_nameless_reject=False, promise=730)


def read_in_full(pipeline: Pipeline, case: Case) -> Login:
    login = read_twice(pipeline, case)
    login.load((login.account, case.full_read()), hours=1, moves="a>b")
    return login


@pytest.fixture
def waiting(pipeline: Pipeline) -> Login:
    """Return a login of which six of seven rows are absent."""
    return read_in_full(pipeline, case_of(*MANY))


@pytest.fixture
def ended(pipeline: Pipeline) -> Login:
    """Return a login of which one of two rows ended as absent."""
    return read_in_full(pipeline, case_of(FEW[0]))


def live(login: Login) -> set[str]:
    return {key for key, (removed_for,) in login.states().items() if removed_for is None}


def test_a_login_that_is_read_on_from_its_cursor_loses_no_row_to_the_full_read_of_another(pipeline: Pipeline) -> None:
    case = case_of(FEW[0])
    login = read_twice(pipeline, case)
    change = transaction(transaction_id="new", account_id="a", date="2020-01-01")
    login.load((login.account, case.full_read()), (login.other, page(added=[change])), hours=1, moves="a>b")
    others = replace(login, account=login.other)
    assert (live(login), live(others)) == ({"t1"}, {"t0", "t1", "new"})
    assert login.reconciliation().absent == 1


@pytest.mark.parametrize(("live", "absent", "waits"), [(10, 5, False), (10, 6, True), (60, 6, False), (59, 6, True)])
def test_more_than_a_handful_and_a_tenth_wait(live: int, absent: int, *, waits: bool) -> None:
    assert must_wait(TRANSACTIONS, live=live, absent=absent) == waits


def test_a_read_whose_rows_wait_loads_everything_else_and_moves_the_cursor(waiting: Login, rows: Rows) -> None:
    assert reconciliations.count_pending(waiting.pipeline.db) == 1
    assert rows("select value from etl.cursors where provider_account_id = %s", waiting.account) == [("b",)]
    assert len(live(waiting)) == 7


def test_a_row_that_changed_since_the_read_is_not_ended_by_an_approval(waiting: Login) -> None:
    changed = waiting.case.record(0, name="CHANGED")
    waiting.load((waiting.account, page(modified=[changed])), hours=2, moves="b>c")
    waiting.decide(approve)
    assert live(waiting) == {"t0", "t6"}
    assert reconciliations.count_pending(waiting.pipeline.db) == 0


def test_an_approval_of_a_purged_read_says_so_and_changes_nothing(waiting: Login) -> None:
    waiting.pipeline.db.execute("update etl.raw_batches set purged_at = now()")
    with pytest.raises(RawPurged):
        waiting.decide(approve)
    assert waiting.reconciliation().state == "pending"


def test_a_pending_reconciliation_that_is_revoked_keeps_the_rows(waiting: Login) -> None:
    waiting.decide(revoke)
    assert waiting.reconciliation().state == "revoked"
    waiting.pipeline.replay(waiting.batches[-1])
    assert len(live(waiting)) == 7
    with pytest.raises(NothingToDecide, match="no row waits for approval"):
        waiting.decide(approve)


def test_a_login_without_anything_to_decide_keeps_the_others_undecided(waiting: Login) -> None:
    pipeline = waiting.pipeline
    with pytest.raises(NothingToDecide, match=f"provider accounts {waiting.other}: no row waits"):
        approve(
            [waiting.account, waiting.other],
            entities={"transactions": TRANSACTIONS},
            db=pipeline.db,
            root=pipeline.root,
        )
    assert waiting.reconciliation().state == "pending"


def test_a_later_read_takes_the_place_of_one_that_waits(waiting: Login) -> None:
    everything = [waiting.case.record(number) for number in range(len(waiting.case.rows))]
    waiting.load((waiting.account, page(added=everything)), hours=2, moves="b>c")
    waiting.pipeline.db.execute("update etl.cursors set reread = true")
    raw_id = waiting.pipeline.seal_pages(
        (waiting.account, page(added=everything)),
        run_id="again",
        at=FIRST + timedelta(hours=3),
        moves="c>d",
        whole=True,
    )
    waiting.pipeline.load(raw_id)
    assert (waiting.reconciliation().state, waiting.reconciliation().absent) == ("applied", 0)
    assert reconciliations.count_pending(waiting.pipeline.db) == 0


def test_a_removal_that_came_after_the_read_ends_a_row_that_is_brought_back(ended: Login) -> None:
    ended.load((ended.account, page(removed=[{"transaction_id": "t0"}])), hours=2, moves="b>c")
    ended.decide(revoke)
    assert ended.states()["t0"] == ("withdrawn",)


def test_a_row_that_came_back_by_itself_is_not_touched_by_a_revocation(ended: Login) -> None:
    ended.load((ended.account, page(added=[ended.case.record(0, name="BACK")])), hours=2, moves="b>c")
    before = ended.states(ALL)
    ended.decide(revoke)
    assert ended.states(ALL) == before


def test_a_row_that_a_person_brought_back_is_ended_again_only_after_approval(ended: Login) -> None:
    ended.decide(revoke)
    read = ended.pipeline.seal_pages(
        (ended.account, ended.case.full_read()), run_id="again", at=FIRST + timedelta(hours=3), moves="b>c", whole=True
    )
    ended.pipeline.load(read)
    assert (ended.reconciliation().state, live(ended)) == ("pending", {"t0", "t1"})
    ended.decide(approve)
    assert live(ended) == {"t1"}


def test_a_later_read_from_before_the_decision_does_not_end_a_row_again(ended: Login) -> None:
    read = ended.pipeline.seal_pages(
        (ended.account, ended.case.full_read()), run_id="again", at=FIRST + timedelta(hours=3), moves="b>c", whole=True
    )
    ended.pipeline.load(read)
    ended.decide(revoke)
    for raw_id in (*ended.batches, read):
        ended.pipeline.replay(raw_id)
    assert live(ended) == {"t0", "t1"}


def test_a_lost_row_that_ended_ends_again_although_few_rows_are_live_now(pipeline: Pipeline) -> None:
    sent = tuple(replace(SENT, age=age % 700) for age in range(60))
    login = read_in_full(pipeline, case_of(*MANY, *sent))
    assert len(live(login)) == 61
    removed: list[dict[str, object]] = [{"transaction_id": f"t{number}"} for number in range(6, 60)]
    login.load((login.account, page(removed=removed)), hours=2, moves="b>c")
    after = login.states(ALL)
    pipeline.db.execute("delete from core.transactions where provider_account_id = %s", [login.account])
    for raw_id in login.batches:
        pipeline.replay(raw_id)
    assert login.states(ALL) == after


def test_a_hold_whose_posted_record_is_rejected_is_held_by_a_full_read_and_ends_with_the_reject(
    pipeline: Pipeline,
) -> None:
    login = read_in_full(pipeline, case_of(Row("a", 1, "held")))
    assert login.states("transaction_id, removed_for, outdated_at is not null")["t0"] == (None, True)
    login.load((login.account, page(removed=[{"transaction_id": "p0"}])), hours=2, moves="b>c")
    assert login.states()["t0"] == ("withdrawn",)


def test_a_read_whose_login_was_stale_reconciles_nothing(pipeline: Pipeline, rows: Rows) -> None:
    login = read_twice(pipeline, case_of(FEW[0]))
    login.load((login.account, page()), hours=1, moves="a>z")
    stale = login.load((login.account, login.case.full_read()), hours=2, moves="a>b")
    pipeline.replay(stale)
    assert rows("select count(*) from etl.reconciliations") == [(0,)]
    assert len(live(login)) == 2


def test_the_report_of_a_run_says_what_waits_and_what_was_skipped(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    login = read_twice(pipeline, case_of(*MANY, Row("b", 1, "absent")))
    raw_id = pipeline.seal_pages(
        (login.account, login.case.full_read()), run_id="reported", at=LATER, moves="a>b", whole=True
    )
    pipeline.load(raw_id)
    caplog.clear()
    report(pipeline.entity, "reported", db=pipeline.db)
    (line,) = [line for line in caplog.messages if "resync --show" in line]
    assert line.startswith(
        f"transactions: raw batch {raw_id}: provider account {login.account}: 6 of 8 live rows are absent and wait for "
        "approval; not reconciled: 1 row: account b is not in the read"
    )


def test_an_account_that_a_read_does_not_mention_is_named_up_to_a_limit(pipeline: Pipeline) -> None:
    login = read_in_full(pipeline, case_of(*(Row(f"account {number:02}", 1, "absent") for number in range(30))))
    skipped = login.reconciliation().skipped or ""
    assert "1 row: account account 00 is not in the read; 1 row: account account 01" in skipped
    assert skipped.count("not in the read") == reconciliations.MAX_REASONS


@pytest.fixture(autouse=True)
def _no_leftovers(pipeline: Pipeline) -> Iterator[None]:
    yield
    assert pipeline.db.info.transaction_status.name == "IDLE"
