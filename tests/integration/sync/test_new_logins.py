"""Rows of logins of which nothing is known yet are copied at once, and end as if they had been merged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest

from etl.db.connection import Connection
from etl.db.statements import Statement
from etl.db.tables import entity_statements
from etl.declare.entity import Entity
from etl.sync.history import corrections
from etl.sync.merging import new_logins
from etl.sync.merging.new_logins import CopiedLogins
from etl.sync.merging.outdated import Origin
from etl.sync.store.loads import LoadCounts
from etl.sync.store.typed_batches import TypedBatch
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.integration.sync.test_load import load_counts
from tests.integration.sync.test_relink import CHECKING, TODAY, days, link, load
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
STATES = (
    "select t.* from core.transactions as t order by t.provider_account_id, t.transaction_id",
    "select h.* from core.transactions_history as h order by h.provider_account_id, h.transaction_id",
    "select c.* from etl.cursors as c order by c.provider_account_id",
    "select r.provider_account_id, r.record_id, r.observed_at, r.closed_at from etl.rejects as r order by 1, 2",
    "select l.provider_account_id, l.outcome from etl.left_out as l order by 1",
)
"""What a load writes."""
PAGES = 6


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[CopiedLogins]:
    """Collects what each load copied."""
    copies: list[CopiedLogins] = []
    copy = new_logins.copy

    def copy_and_record(entity: Entity, typed_batch: TypedBatch, origin: Origin, *, db: Connection) -> CopiedLogins:
        copies.append(copy(entity, typed_batch, origin, db=db))
        return copies[-1]

    monkeypatch.setattr(new_logins, "copy", copy_and_record)
    return copies


@pytest.fixture
def declare_own(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes statements the only ones of the entity's file."""

    def declare(**texts: str) -> None:
        own = {name: Statement(text) for name, text in texts.items()}
        monkeypatch.setattr(entity_statements, "_find_own", lambda _: own)

    return declare


def random_pages(random: Random, account: int) -> list[tuple[int, bytes]]:
    """Return pages of a login with holds and what replaced them, and with and without each optional field."""
    records: list[dict[str, object]] = []
    for number in range(random.randint(1, 40)):
        earlier = [record["transaction_id"] for record in records if record["pending"]]
        pending = random.random() < 0.3
        records.append(
            transaction(
                transaction_id=f"t{random.randrange(10**9)}-{number}",
                account_id=random.choice(["a", "b"]),
                amount=random.choice([0, -3.5, 72.1, 10**9]),
                date=str(FIRST.date() - timedelta(days=random.randint(0, 700))),
                datetime=random.choice([None, "2022-11-20T11:01:01Z"]),
                pending=pending,
                pending_transaction_id=random.choice([*earlier, None, "unknown"]) if not pending else None,
                merchant_name=random.choice([None, "Münze ’n’ Söhne\t✓"]),
                personal_finance_category=None,
            )
        )
    step = len(records) // PAGES + 1
    return [(account, page(added=records[first : first + step])) for first in range(0, len(records), step)]


@pytest.mark.parametrize("seed", range(6))
def test_a_first_load_ends_as_it_does_when_its_rows_are_staged_and_merged(
    pipeline: Pipeline, rows: Rows, copied: list[CopiedLogins], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random = Random(seed)
    known, *others = pipeline.enrol("known", "two", "three", "empty", "bad")
    empty, bad = others[-2:]
    pipeline.load(pipeline.seal_pages((known, page(added=[transaction()])), moves=">a"))
    pages = [each for account in (known, *others[:-2]) for each in random_pages(random, account)]
    pages += [(empty, page()), (bad, page(added=[transaction(), transaction(transaction_id="x", date="never")]))]
    moves = {**dict.fromkeys(others, ">b"), known: "a>b"}
    raw_id = pipeline.seal_pages(
        *pages, moves=moves, run_id="next", at=LATER, opened_at=FIRST, sealed_at=LATER + timedelta(hours=1)
    )

    def load() -> tuple[LoadCounts, list[list[tuple[object, ...]]]]:
        with pipeline.db.transaction(force_rollback=True):
            return pipeline.load(raw_id), [rows(query) for query in STATES]

    with pipeline.db.transaction():
        by_copy = load()
        assert set(copied[-1].logins) == set(others) - {bad}
        monkeypatch.setattr(new_logins, "copy", lambda *_, **__: CopiedLogins())
        assert load() == by_copy


def test_the_rows_of_a_new_login_are_copied_and_its_next_batch_is_merged(
    pipeline: Pipeline, copied: list[CopiedLogins]
) -> None:
    (account,) = pipeline.enrol("one")
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction()])), moves=">a"))
    changed = page(modified=[transaction(amount=2)], added=[transaction(transaction_id="new")])
    later = pipeline.seal_pages((account, changed), moves="a>b", run_id="later", at=LATER)
    assert pipeline.load(later) == load_counts(inserted=1, updated=1)
    assert copied == [CopiedLogins([account], 1), CopiedLogins()]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (page(added=[transaction()], removed=[{"transaction_id": "gone"}]), load_counts(inserted=1, unchanged=1)),
        (page(added=[transaction(), transaction(amount=2)]), load_counts(inserted=1, superseded=1)),
        (page(added=[transaction(), transaction(transaction_id="b", date="?")]), load_counts(inserted=1, rejected=1)),
    ],
    ids=["a removal", "a repeated key", "a reject"],
)
def test_a_login_with_records_that_must_be_compared_is_merged(
    pipeline: Pipeline, copied: list[CopiedLogins], body: bytes, expected: LoadCounts
) -> None:
    (account,) = pipeline.enrol("one")
    assert pipeline.load(pipeline.seal_pages((account, body))) == expected
    assert copied == [CopiedLogins()]


def test_a_key_that_a_later_page_repeats_is_merged(pipeline: Pipeline, rows: Rows, copied: list[CopiedLogins]) -> None:
    (account,) = pipeline.enrol("one")
    records = [transaction(transaction_id=f"t{number}") for number in range(10_001)]
    pages = [(account, page(added=records)), (account, page(added=[transaction(transaction_id="t0", amount=2)]))]
    assert pipeline.load(pipeline.seal_pages(*pages)) == load_counts(inserted=10_001, superseded=1)
    assert copied == [CopiedLogins()]
    assert rows("select amount from core.transactions where transaction_id = 't0'") == [(2,)]


def test_a_login_with_an_open_reject_is_merged_so_that_the_reject_is_closed(
    pipeline: Pipeline, rows: Rows, copied: list[CopiedLogins]
) -> None:
    (account,) = pipeline.enrol("one")
    bad = [transaction(transaction_id=f"t{number}", date="?") for number in range(300)]
    held = pipeline.seal_pages((account, page(added=bad)), run_id="held")
    assert pipeline.load(held) == load_counts(quarantined=300)
    pipeline.db.execute(
        "insert into etl.rejects (raw_id, entity, version, provider_account_id, record_id, observed_at, line, path, "
        "rule, reason) values (%s, 'transactions', 1, %s, 't0', %s, 0, 'added[0].date', 'type', 'by hand') "
        "on conflict do nothing",
        (held, account, FIRST),
    )
    good = [transaction(transaction_id=f"t{number}") for number in range(300)]
    pipeline.load(pipeline.seal_pages((account, page(added=good)), run_id="good", at=LATER))
    assert copied == [CopiedLogins(), CopiedLogins()]
    assert rows("select count(*) from etl.rejects where closed_at is null") == [(0,)]


def test_a_login_whose_feed_was_empty_so_far_is_merged_in_the_order_of_the_feed(
    pipeline: Pipeline, rows: Rows, copied: list[CopiedLogins]
) -> None:
    (account,) = pipeline.enrol("one")
    pipeline.load(pipeline.seal_pages((account, page()), moves=">a"))
    pipeline.db.execute("update etl.cursors set observed_at = %s", (LATER,))
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction()])), moves="a>b", run_id="next"))
    assert copied == [CopiedLogins([account]), CopiedLogins()]
    assert rows("select observed_at from core.transactions") == [(LATER,)]


def test_a_login_that_a_window_brought_rows_of_is_merged(
    pipeline: Pipeline, rows: Rows, copied: list[CopiedLogins]
) -> None:
    one, two = pipeline.enrol("one", "two")
    pipeline.load(pipeline.seal_pages((one, page(added=[transaction()])), moves=">a"))
    pipeline.db.execute("update core.transactions set provider_account_id = %s", (two,))
    batch = pipeline.seal_pages((two, page(added=[transaction(amount=2)])), run_id="feed", at=LATER)
    assert pipeline.load(batch) == load_counts(updated=1)
    assert copied[-1] == CopiedLogins()
    assert rows("select amount from core.transactions") == [(2,)]


def test_a_merge_of_an_entitys_own_gets_the_rows_of_new_logins_too(
    pipeline: Pipeline, copied: list[CopiedLogins], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Statement("delete from incoming where transaction_id = 'unwanted'")
    find_own = entity_statements._find_own
    monkeypatch.setattr(entity_statements, "_find_own", lambda entity: {**find_own(entity), "before_merge": own})
    (account,) = pipeline.enrol("one")
    records = [transaction(), transaction(transaction_id="unwanted")]
    assert pipeline.load(pipeline.seal_pages((account, page(added=records)))).inserted == 1
    assert copied == [CopiedLogins()]


def test_own_statements_that_read_incoming_get_the_rows_of_new_logins_too(
    pipeline: Pipeline, rows: Rows, copied: list[CopiedLogins], declare_own: Callable[..., None]
) -> None:
    declare_own(
        close_pending="update core.transactions as t set removed_at = i.observed_at, removed_for = 'posted' "
        "from incoming as i "
        "where t.provider_account_id = i.provider_account_id and t.transaction_id = i.pending_transaction_id "
        "returning t.provider_account_id, t.transaction_id"
    )
    (account,) = pipeline.enrol("one")
    hold = transaction(transaction_id="hold", pending=True)
    posted = transaction(transaction_id="posted", pending_transaction_id="hold")
    pipeline.load(pipeline.seal_pages((account, page(added=[hold, posted]))))
    assert copied == [CopiedLogins()]
    assert rows("select transaction_id from core.transactions where removed_at is null") == [("posted",)]


@pytest.mark.parametrize(
    ("own", "copies"),
    [
        (("close_pending", "-- Of incoming.\nselect 1, 'a' from incoming_cursors where false"), 1),
        (("drop_unconfirmed", "delete from incoming where pending"), 1),
        (("find_untold", "select 1::bigint from incoming where false"), 0),
        (("find_untold", "-- It needs no rows of new logins.\nselect 1::bigint from incoming where false"), 1),
    ],
)
def test_rows_of_new_logins_are_staged_only_for_own_statements_that_name_incoming_and_run_after_them(
    pipeline: Pipeline, copied: list[CopiedLogins], declare_own: Callable[..., None], own: tuple[str, str], copies: int
) -> None:
    declare_own(**dict([own]))
    (account,) = pipeline.enrol("one")
    assert pipeline.load(pipeline.seal_pages((account, page(added=[transaction()])))).inserted == 1
    assert [each.rows for each in copied] == [copies]


def test_a_replay_stages_new_logins_so_that_later_batches_are_applied_to_them(
    pipeline: Pipeline, rows: Rows, copied: list[CopiedLogins]
) -> None:
    (account,) = pipeline.enrol("one")
    pipeline.replay(pipeline.seal_pages((account, page(added=[transaction()]))))
    assert copied == []
    assert rows("select count(*) from core.transactions") == [(1,)]


def test_a_correction_of_an_earlier_login_is_carried_on_to_what_replaces_the_repeated_row_in_the_same_batch(
    pipeline: Pipeline, rows: Rows, copied: list[CopiedLogins]
) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(1, 7))
    corrections.correct(pipeline.db, old, "old 1", values={"note": "flat"}, corrected_by="ada")
    new = link(pipeline, "new", CHECKING)
    account = {"account_id": "new checking", "date": str(TODAY)}
    hold = transaction(transaction_id="hold", amount=7, pending=True, **account)
    posted = transaction(transaction_id="posted", amount=8, pending_transaction_id="hold", **account)
    pipeline.load(pipeline.seal_pages((new, page(added=[hold, posted])), run_id="new", at=LATER))
    assert copied[-1] == CopiedLogins([new], 2)
    notes = "select transaction_id, note from core.corrections where provider_account_id = %s order by 1"
    assert rows(notes, new) == [("hold", "flat"), ("posted", "flat")]
