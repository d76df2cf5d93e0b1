"""Users' corrections of transactions: they outrank the provider, and survive what the provider sends later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import permutations

import msgspec
import pytest

from etl.db.connection import Connection
from etl.db.statements import Statement
from etl.sync.history import corrections
from etl.sync.history.corrections import CorrectionInvalid, TransactionMissing
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
EFFECTIVE = (
    "select transaction_id, category, category_detail, merchant_name, note, is_ignored, corrected_fields "
    "from core.effective_transactions order by 1"
)
DETAIL = "FOOD_AND_DRINK_RESTAURANT"


def record(name: str, *, replaces: str | None = None, pending: bool = False, **changes: object) -> dict[str, object]:
    return transaction(transaction_id=name, pending_transaction_id=replaces, pending=pending, **changes)


def removal(name: str) -> dict[str, object]:
    return {"account_id": transaction()["account_id"], "transaction_id": name}


def load(
    pipeline: Pipeline,
    account: int,
    *records: dict[str, object],
    moves: str,
    removed: Iterable[str] = (),
    whole: bool = False,
) -> int:
    body = page(added=list(records), removed=[removal(each) for each in removed])
    raw_id = pipeline.seal_pages((account, body), moves=moves, run_id=f"run {moves}", at=LATER, whole=whole)
    pipeline.load(raw_id)
    return raw_id


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    """Return an account with the pending transaction `pending`."""
    (account,) = pipeline.enrol("one")
    body = page(added=[record("pending", pending=True)])
    pipeline.load(pipeline.seal_pages((account, body), moves=">a", at=FIRST))
    return account


@pytest.fixture
def correct(db: Connection, account: int) -> Callable[..., None]:
    """Return a function that corrects a transaction."""

    def correct(transaction_id: str, *cleared: str, **values: str | bool) -> None:
        corrections.correct(db, account, transaction_id, values=values, cleared=cleared, corrected_by="ann")

    return correct


def notes(rows: Rows) -> dict[object, object]:
    return dict(rows("select transaction_id, note from core.corrections where note is not null"))  # type: ignore[arg-type]


def test_a_corrected_field_outranks_the_provider_and_the_others_do_not(
    account: int, correct: Callable[..., None], rows: Rows
) -> None:
    correct("pending", category="PETS")
    assert rows(EFFECTIVE) == [("pending", "PETS", None, "Harbour Deli", None, False, ["category"])]
    correct("pending", merchant_name="Zoo", note="for the cat", is_ignored=True)
    fields = ["category", "merchant_name", "note", "is_ignored"]
    assert rows(EFFECTIVE) == [("pending", "PETS", None, "Zoo", "for the cat", True, fields)]
    correct("pending", "category", "is_ignored")
    expected = ("pending", "FOOD_AND_DRINK", DETAIL, "Zoo", "for the cat", False, fields[1:3])
    assert rows(EFFECTIVE) == [expected]


def test_only_live_transactions_are_effective(pipeline: Pipeline, account: int, rows: Rows) -> None:
    load(pipeline, account, record("other"), removed=["pending"], moves="a>b")
    assert [row[0] for row in rows(EFFECTIVE)] == ["other"]


def test_a_correction_stays_when_the_provider_changes_the_row_and_when_it_is_replayed_or_read_again(
    pipeline: Pipeline, account: int, correct: Callable[..., None], rows: Rows
) -> None:
    correct("pending", category="PETS", is_ignored=False)
    expected = [("pending", "PETS", None, "Other", None, False, ["category", "is_ignored"])]
    raw_id = load(pipeline, account, record("pending", pending=True, merchant_name="Other"), moves="a>b")
    assert rows(EFFECTIVE) == expected
    pipeline.replay(1)
    pipeline.replay(raw_id)
    assert rows(EFFECTIVE) == expected
    load(pipeline, account, record("pending", pending=True, merchant_name="Other"), moves="b>c", whole=True)
    assert rows(EFFECTIVE) == expected


def test_a_correction_of_a_pending_transaction_is_carried_to_the_posted_one(
    pipeline: Pipeline, account: int, correct: Callable[..., None], rows: Rows
) -> None:
    correct("pending", category="PETS", note="cat")
    load(pipeline, account, record("posted", replaces="pending"), removed=["pending"], moves="a>b")
    assert rows(EFFECTIVE) == [("posted", "PETS", None, "Harbour Deli", "cat", False, ["category", "note"])]
    assert rows("select carried_from, corrected_by from core.corrections where transaction_id = 'posted'") == [
        (["pending"], "ann")
    ]


def test_corrections_of_another_login_with_the_same_ids_are_not_carried(
    pipeline: Pipeline, account: int, correct: Callable[..., None], rows: Rows
) -> None:
    (other,) = pipeline.enrol("two")
    correct("pending", note="cat")
    load(pipeline, other, record("posted", replaces="pending"), moves=">x")
    load(pipeline, account, record("pending", pending=True, amount=3), moves="a>b")
    assert notes(rows) == {"pending": "cat"}


def test_a_posted_transaction_keeps_its_own_corrected_fields(
    pipeline: Pipeline, account: int, correct: Callable[..., None], db: Connection, rows: Rows
) -> None:
    load(pipeline, account, record("posted"), moves="a>b")
    correct("posted", note="dog")
    correct("pending", note="cat", category="PETS")
    load(pipeline, account, record("posted", replaces="pending"), moves="b>c")
    assert rows("select note, category from core.corrections where transaction_id = 'posted'") == [("dog", "PETS")]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_correction_is_carried_along_a_chain_whichever_row_comes_first(
    pipeline: Pipeline, account: int, correct: Callable[..., None], rows: Rows, order: tuple[int, ...]
) -> None:
    correct("pending", note="cat")
    chain = [
        record("second", replaces="pending", pending=True),
        record("third", replaces="second", pending=True),
        record("posted", replaces="third"),
    ]
    for step, position in enumerate(order):
        load(pipeline, account, chain[position], moves=f"{'abcd'[step]}>{'abcd'[step + 1]}")
    assert notes(rows) == dict.fromkeys(("pending", "second", "third", "posted"), "cat")


def test_a_chain_that_arrives_at_once_is_followed_and_each_link_adds_its_own(
    pipeline: Pipeline, account: int, correct: Callable[..., None], rows: Rows
) -> None:
    load(pipeline, account, record("second", pending=True), moves="a>b")
    correct("pending", note="cat", merchant_name="Shop")
    correct("second", category="PETS", merchant_name="Zoo")
    load(
        pipeline,
        account,
        record("second", replaces="pending", pending=True),
        record("posted", replaces="second"),
        moves="b>c",
    )
    posted = rows("select note, category, merchant_name from core.corrections where transaction_id = 'posted'")
    assert posted == [("cat", "PETS", "Zoo")]


def test_transactions_that_replace_each_other_end_nothing(
    pipeline: Pipeline, account: int, correct: Callable[..., None], rows: Rows
) -> None:
    load(pipeline, account, record("one", replaces="two"), record("two", replaces="one"), moves="a>b")
    correct("one", note="ring")
    load(pipeline, account, record("one", replaces="two", amount=1), moves="b>c")
    assert notes(rows) == {"one": "ring", "two": "ring"}


def test_a_correction_of_a_transaction_that_is_posted_already_holds_for_the_posted_one(
    pipeline: Pipeline, account: int, correct: Callable[..., None], rows: Rows
) -> None:
    load(pipeline, account, record("posted", replaces="pending"), removed=["pending"], moves="a>b")
    correct("pending", note="cat")
    assert notes(rows) == {"pending": "cat", "posted": "cat"}


def test_a_field_that_was_cleared_on_the_posted_transaction_does_not_return(
    pipeline: Pipeline, account: int, correct: Callable[..., None], rows: Rows
) -> None:
    correct("pending", note="cat", category="PETS")
    raw_id = load(pipeline, account, record("posted", replaces="pending"), moves="a>b")
    correct("posted", "note")
    load(pipeline, account, record("posted", replaces="pending", amount=9), moves="b>c")
    pipeline.replay(raw_id)
    assert rows("select note, category from core.corrections where transaction_id = 'posted'") == [(None, "PETS")]


def test_a_window_carries_corrections_too(
    pipeline: Pipeline, account: int, correct: Callable[..., None], rows: Rows
) -> None:
    correct("pending", note="cat")
    pipeline.source = "transactions_get"
    body = msgspec.json.encode({"transactions": [record("posted", replaces="pending")], "total_transactions": 1})
    pipeline.load(pipeline.seal_pages((account, body), at=LATER, run_id="window"))
    assert notes(rows)["posted"] == "cat"


def test_carry_copies_a_correction_once_to_another_login_and_overwrites_nothing(
    pipeline: Pipeline, account: int, correct: Callable[..., None], db: Connection, rows: Rows
) -> None:
    (other,) = pipeline.enrol("two")
    load(pipeline, other, record("new"), moves=">x")
    corrections.correct(db, other, "new", values={"note": "dog"}, corrected_by="ann")
    correct("pending", note="cat", category="PETS")
    copy = Statement(
        "select p.provider_account_id, 'new' as transaction_id, c.category, c.merchant_name, c.note, c.is_ignored, "
        "c.transaction_id as carried_from, c.corrected_at, c.corrected_by, 1 as step "
        "from core.corrections as c, core.provider_accounts as p "
        "where c.transaction_id = 'pending' and p.item_id = 'item-two'"
    )
    assert corrections.carry(db, copy) == 1
    carried = corrections.find(db, other, "new")
    assert carried is not None
    assert carried.fields == {"category": "PETS", "note": "dog"}
    corrections.correct(db, other, "new", values={}, cleared=["category"], corrected_by="ann")
    assert corrections.carry(db, copy) == 0
    carried = corrections.find(db, other, "new")
    assert carried is not None
    assert carried.fields == {"note": "dog"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"note": "x" * 2_001}, "note has 2,001 characters; shorten it to 2,000 at most"),
        ({"category": "x" * 101}, "category has 101 characters"),
        ({"merchant_name": "x" * 501}, "merchant_name has 501 characters"),
        ({"note": "a\0b"}, "note has a NUL"),
        ({"note": "\ud800"}, "note has a NUL or half a surrogate pair"),
        ({"note": " "}, "note is empty; clear it"),
        ({"amount": "5"}, "amount cannot be corrected; name one of category, "),
        ({}, "has no field"),
    ],
)
def test_a_value_that_cannot_be_stored_is_refused_with_its_field(
    account: int, correct: Callable[..., None], rows: Rows, values: dict[str, str], message: str
) -> None:
    with pytest.raises(CorrectionInvalid, match=message):
        correct("pending", **values)
    assert rows("select note from core.corrections") == []


@pytest.mark.parametrize("field", ["category", "merchant_name", "note"])
def test_the_longest_text_that_is_allowed_is_stored(
    account: int, correct: Callable[..., None], rows: Rows, field: str
) -> None:
    correct("pending", **{field: "ü" * corrections.MAX_LENGTHS[field]})
    assert rows(f"select length({field}) from core.corrections") == [(corrections.MAX_LENGTHS[field],)]


def test_a_field_cannot_be_given_and_cleared_at_once(account: int, correct: Callable[..., None]) -> None:
    with pytest.raises(CorrectionInvalid, match="note is given and cleared at once"):
        correct("pending", "note", note="cat")


def test_a_transaction_that_the_login_does_not_have_is_refused(
    pipeline: Pipeline, account: int, db: Connection, correct: Callable[..., None]
) -> None:
    (other,) = pipeline.enrol("two")
    with pytest.raises(TransactionMissing, match=f"login {other} has no transaction 'pending'"):
        corrections.correct(db, other, "pending", values={"note": "cat"}, corrected_by="ann")


def test_a_load_reads_only_the_corrections_of_its_logins(pipeline: Pipeline, account: int, db: Connection) -> None:
    others = pipeline.enrol(*(f"other {number}" for number in range(40)))
    db.execute(
        "insert into core.corrections (provider_account_id, transaction_id, note, corrected_by) "
        "select o.id, 'c' || n, 'x', 'ann' from unnest(%s::bigint[]) as o (id), generate_series(1, 500) as n",
        (others,),
    )
    db.execute("analyze core.corrections")
    read = (
        "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relid = 'core.corrections'::regclass"
    )
    with db.transaction():
        load(pipeline, account, record("posted", replaces="pending"), moves="a>b")
        assert db.execute(read.encode()).fetchall() == [(0,)]
