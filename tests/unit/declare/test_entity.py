from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import ACCOUNTS_GET, PLAID, TRANSACTIONS_GET, TRANSACTIONS_SYNC
from etl.catalog.queues import ETL, HIGH_PRIORITY, LOW_PRIORITY, QUEUES, WORKER_GROUPS
from etl.declare.api.paging import PageNumberPaging, Total, TotalPages
from etl.declare.api.part import Part
from etl.declare.api.value import Identity
from etl.declare.check import Iso4217, MaxLength, MinorUnits, NotEmpty
from etl.declare.entity import Column, ColumnType, Entity, RawOf
from etl.declare.provider import ErrorAction, ErrorRule, LimitScope, Placeholder, RateLimit
from etl.declare.queue import queues_served
from etl.declare.source import Recent, Snapshot, Source, Window
from etl.errors import DeclarationError

RAW = RawOf("transactions", places={"transactions_sync": ("added[].counterparties[]",)}, having="entity_id")


def test_the_slots_of_a_groups_own_queues_never_exceed_its_processes() -> None:
    for group in WORKER_GROUPS:
        assert sum(pool.slots for queue in QUEUES if queue.group == group for pool in queue.pools) <= group.processes


def test_a_group_polls_the_most_urgent_of_its_queues_first() -> None:
    assert [queue.name for queue in queues_served(HIGH_PRIORITY, QUEUES)] == ["urgent_notifications"]
    assert [queue.name for queue in queues_served(LOW_PRIORITY, QUEUES)] == [
        "urgent_notifications",
        "emails",
        "etl",
        "maintenance",
    ]


@pytest.mark.parametrize(
    ("kind", "max_length", "message"),
    [
        (ColumnType.TEXT, 0, "max_length is 0; it must be at least 1"),
        (ColumnType.TEXT, None, r"max_length is None \(NoneType\); write an int"),
        (ColumnType.DATE, 10, "max_length is 10, but only a text has one and this is ColumnType.DATE; remove it"),
    ],
)
def test_only_a_text_has_a_limit_and_it_is_no_less_than_one_character(
    kind: ColumnType, max_length: Any, message: str
) -> None:
    with pytest.raises(DeclarationError, match=f"column some: {message}"):
        Column("some", kind, max_length=max_length)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Transactions"}, "name is 'Transactions'; write lower-case letters"),
        ({"columns": ()}, "columns is empty; write at least 1 Column"),
        ({"columns": (*TRANSACTIONS.columns, Column("amount", ColumnType.MONEY))}, "column amount is declared twice"),
        ({"columns": Column("amount", ColumnType.MONEY)}, r"columns is .* \(Column\); write a tuple, with a comma"),
        (
            {"columns": (*TRANSACTIONS.columns, Column("city", ColumnType.TEXT, path="../city"))},
            "city has the path '../city'",
        ),
        (
            {"columns": (*TRANSACTIONS.columns, Column("day", ColumnType.TEXT, path="date"))},
            "columns dated_on and day read 'date' and 'date' as different types",
        ),
        (
            {"columns": (*TRANSACTIONS.columns, Column("low", ColumnType.MONEY, path="amount.low"))},
            "columns amount and low read 'amount' and 'amount.low' as different types",
        ),
        ({"key": ()}, "key is empty; write at least 1 str"),
        ({"key": "account_id"}, r"key is 'account_id' \(str\); write a tuple, with a comma"),
        ({"key": ("nowhere",)}, "key column nowhere is not among its columns"),
        ({"key": ("merchant_name",)}, "key column merchant_name must be required"),
        ({"checks": ("currency",)}, r"one of its checks is 'currency' \(str\); write a Check"),
        ({"checks": (NotEmpty("nowhere"),)}, "check not_empty names no column: nowhere"),
        (
            {"checks": (MaxLength("amount", 9),)},
            "check max_length needs a column of ColumnType.TEXT, but amount is of ColumnType.M",
        ),
        (
            {"checks": (MinorUnits("currency", "amount"),)},
            "check minor_units needs a column of ColumnType.MONEY, but curr",
        ),
        (
            {"checks": (Iso4217("currency", on="pending"),)},
            "check iso4217 needs a column of ColumnType.DATE, but pending is of",
        ),
        ({"checks": (Iso4217("currency", on="nowhere"),)}, "check iso4217 names no column: nowhere"),
        ({"replaces": "nowhere"}, "replaces is 'nowhere', which is no column of ColumnType.TEXT"),
        ({"replaces": "amount"}, "replaces is 'amount', which is no column of ColumnType.TEXT"),
        ({"tolerated_rejects": 5}, "tolerated_rejects is 5; it must be a share between 0 and 1"),
        ({"tolerated_rejects": float("nan")}, "tolerated_rejects is nan"),
        ({"tolerated_absences": -0.1}, "tolerated_absences is -0.1; it must be a share between 0 and 1"),
        ({"chunk_size": 0}, "chunk_size is 0; it must be at least 1"),
        ({"chunk_size": 1.5}, r"chunk_size is 1.5 \(float\); write an int"),
        ({"max_chunks": 0}, "max_chunks is 0; it must be between 1 and 64"),
        ({"max_chunks": 65}, "max_chunks is 65; it must be between 1 and 64"),
        ({"history": "yes"}, r"history is 'yes' \(str\); write a bool"),
        (
            {
                "history": True,
                "columns": TRANSACTIONS.key_columns,
                "checks": (),
                "currencies": (),
                "replaces": None,
            },
            "all of its columns are in its key, which never changes; remove history",
        ),
        ({"newest_by": "nowhere"}, "newest_by is 'nowhere', which is no date.* name one of dated_on, dated_at"),
        ({"newest_by": "amount"}, "newest_by is 'amount', which is no date or instant outside its key"),
        ({"newest_by": 7}, r"newest_by is 7 \(int\); write a str"),
        (
            {"newest_by": "dated_on"},
            "newest_by is 'dated_on', but the changes of a feed apply in the order of the feed",
        ),
        ({"version": True}, r"version is True \(bool\); write an int"),
        ({"timeout": timedelta()}, "timeout is 0:00:00; it must be longer than 0"),
        ({"deadline": timedelta()}, "deadline is 0:00:00; it must be longer than 0"),
        ({"timeout": "1h"}, r"timeout is '1h' \(str\); write a timedelta"),
        (
            {"schedule": "0 0 * *"},
            "schedule is '0 0 \\* \\*', which is no cron expression: it has 4 fields; write minute",
        ),
        ({"schedule": "61 0 * * *"}, "schedule is '61 0 .*', which is no cron expression: .* out of range"),
        ({"schedule": "0 0 31 2 *"}, "which is no cron expression: failed to find next date"),
        ({"schedule": None}, r"schedule is None \(NoneType\); write a str or After"),
        ({"queue": "etl"}, r"queue is 'etl' \(str\); write a Queue"),
        ({"source": TRANSACTIONS_GET}, "source is .* write a Feed or Snapshot or RawOf"),
        ({"window": TRANSACTIONS_SYNC}, "window is .* write a Window or None"),
        ({"hook": "normalise_names"}, "hook is 'normalise_names'; write a function"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_an_invalid_entity_is_refused_with_its_name_the_field_and_the_value(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DeclarationError, match=f"entity [Tt]ransactions: .*{message}"):
        replace(TRANSACTIONS, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": replace(RAW, having="id")}, "having is 'id', a field that none of its columns reads; .* entity_id"),
        (
            {"source": replace(RAW, places={"transactions_get": ("transactions[]",)})},
            "category has .* 1 up, .* are 0 lists",
        ),
        ({"window": TRANSACTIONS_GET}, "window is transactions_get, but .* remove it, and backfill transactions"),
    ],
    ids=["having", "above", "window"],
)
def test_an_entity_that_cannot_be_read_from_raw_batches_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=f"entity merchants: .*{message}"):
        replace(MERCHANTS, **change)


@pytest.mark.parametrize("places", [("added",), ("added[].counterparties",)])
def test_a_path_of_records_without_a_list_is_refused_with_the_right_spelling(places: tuple[str, ...]) -> None:
    with pytest.raises(DeclarationError, match=r"names no list; write 'added\[\](\.counterparties\[\])?'"):
        replace(RAW, places={"transactions_sync": places})


@pytest.mark.parametrize("path", ["a..b", "a.", ".a", "a[]", "/a", "a.../b", "../", "a b", "a/../b"])
def test_a_malformed_column_path_is_refused(path: str) -> None:
    with pytest.raises(DeclarationError, match=r"column x: path is .*; write the names that lead to the field"):
        Column("x", ColumnType.TEXT, path=path)


@pytest.mark.parametrize("name", ["Amount", "2nd", "a-b", "", "a" * 64])
def test_a_column_name_that_postgres_does_not_accept_without_quotes_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match="write lower-case letters, digits and _"):
        Column(name, ColumnType.TEXT)


@pytest.mark.parametrize("name", ["removed", "observed_at", "provider_account_id", "seq", "raw_id"])
def test_a_column_with_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match=f"column {name}: every row has this column .*; remove it"):
        Column(name, ColumnType.TEXT)


@pytest.mark.parametrize("name", ["removed_at", "posted_as", "closed_on", "superseded"])
def test_a_column_that_the_merge_keeps_by_itself_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match=f"column {name}: the merge keeps a column of this name by itself"):
        Column(name, ColumnType.TEXT)


def test_what_the_statements_of_an_entity_read_is_stored() -> None:
    columns = tuple(replace(each, stored=each.name != "currency") for each in TRANSACTIONS.columns)
    with pytest.raises(DeclarationError, match=r"column currency tells .* must be stored; remove stored=False"):
        replace(TRANSACTIONS, columns=columns)


def test_rows_of_recent_days_belong_to_a_login() -> None:
    recent = Recent(name="r", path="/r", query={"d": Placeholder.FIRST_DAY}, upserts=("r[]",), days=9, dated_by="day")
    columns = (Column("id", ColumnType.TEXT), Column("day", ColumnType.DATE))
    with pytest.raises(DeclarationError, match=r"its key has no provider_account_id, but r has .* add it to the key"):
        Entity("r", "R.", PLAID, recent, key=("id",), columns=columns, queue=ETL, schedule="0 0 * * *")


def test_rows_of_recent_days_tell_of_which_part_of_their_login_they_are() -> None:
    recent = Recent(name="r", path="/r", query={"d": Placeholder.FIRST_DAY}, upserts=("r[]",), days=9, dated_by="day")
    columns = (Column("id", ColumnType.TEXT), Column("day", ColumnType.DATE))
    part = Part(field="bank", column="bank_id")
    provider = replace(PLAID, errors=(ErrorRule(ErrorAction.INCOMPLETE, code="x", status=200, part=part),))
    key = ("provider_account_id", "id")
    with pytest.raises(DeclarationError, match=r"part of an error about bank is 'bank_id', which is no stored column"):
        Entity("r", "R.", provider, recent, key=key, columns=columns, queue=ETL, schedule="0 0 * * *")


@pytest.mark.parametrize("read_as", ["source", "window"])
def test_records_without_ids_are_read_in_one_page_or_with_a_total(read_as: str) -> None:
    query = {"from": Placeholder.FIRST_DAY, "to": Placeholder.LAST_DAY, "page": Placeholder.PAGE_NUMBER}
    recent = Recent(
        name="r",
        path="/r",
        query=query,
        upserts=("r[]",),
        paging=PageNumberPaging(end=Total("total")),
        days=9,
        dated_by="day",
    )
    window = Window(name="w", path="/w", query=query, upserts=("r[]",), paging=recent.paging)
    columns = (Column("id", ColumnType.TEXT, identity=Identity("day")), Column("day", ColumnType.DATE))
    key = ("provider_account_id", "id")
    entity = Entity("r", "R.", PLAID, recent, key, columns, ETL, "0 0 * * *", window=window)
    faulty = replace(getattr(entity, read_as), paging=PageNumberPaging(end=TotalPages("pages")))
    with pytest.raises(
        DeclarationError,
        match=r"column id identifies records that have no id, and [rw] is read by PageNumberPaging without a Total: .* "
        r"write end=Total\(…\), or OnePage\(\), or use a column with an id",
    ):
        replace(entity, **{read_as: faulty})


@pytest.mark.parametrize("entity", [replace(TRANSACTIONS, history=False), replace(ACCOUNTS, history=True)])
def test_an_entity_with_history_or_a_feed_has_a_name_to_which_a_suffix_fits(entity: Entity) -> None:
    replace(entity, name="a" * 48)
    with pytest.raises(DeclarationError, match="its name has 49 letters; with history or a feed it may have 48"):
        replace(entity, name="a" * 49)


def test_a_key_that_another_column_names_is_text() -> None:
    columns = tuple(
        Column(column.name, ColumnType.INTEGER) if column.name == "transaction_id" else column
        for column in TRANSACTIONS.columns
    )
    with pytest.raises(DeclarationError, match="the key transaction_id, which it names, is no "):
        replace(TRANSACTIONS, columns=columns, checks=())


def test_a_column_type_given_as_text_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"column x: kind is 'text' \(str\); write a ColumnType"):
        Column("x", "text")  # type: ignore[arg-type]


def test_a_feed_without_a_cursor_in_its_request_is_refused() -> None:
    with pytest.raises(DeclarationError, match="every page would be the first"):
        replace(TRANSACTIONS_SYNC, body={})


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        (TRANSACTIONS_SYNC, {"upserts": ("added",)}, r"upserts has 'added', which names no list; write 'added\[\]'"),
        (TRANSACTIONS_SYNC, {"deletes": ("removed",)}, r"deletes has 'removed', .* write 'removed\[\]'"),
        (TRANSACTIONS_SYNC, {"upserts": ()}, "upserts is empty"),
        (TRANSACTIONS_SYNC, {"path": "transactions"}, "path is 'transactions'; it must begin with '/'"),
        (TRANSACTIONS_SYNC, {"page_size": 0}, "page_size is 0; it must be at least 1"),
        (ACCOUNTS_GET, {"upserts": ("items[].accounts[]",)}, r"a list within others; write 'items\[\]'"),
        (
            ACCOUNTS_GET,
            {"body": {"c": Placeholder.CURSOR}},
            "has Placeholder.CURSOR, which a Snapshot never fills; remove it",
        ),
        (TRANSACTIONS_GET, {"upserts": ("a[]", "b[]")}, "upserts has 2 paths, but an offset counts one; keep one"),
        (TRANSACTIONS_SYNC, {"max_records": 499}, "max_records is 499; it must be at least 500"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_invalid_source_is_refused(source: Source, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=f"source {source.name}: .*{message}"):
        replace(source, **change)


def test_a_page_may_have_a_small_multiple_of_the_records_that_are_asked_for_or_what_is_declared() -> None:
    assert TRANSACTIONS_SYNC.record_limit == 4 * TRANSACTIONS_SYNC.page_size
    assert replace(TRANSACTIONS_SYNC, max_records=700).record_limit == 700
    assert replace(ACCOUNTS_GET, max_records=5).record_limit == 5
    assert Snapshot(name="s", path="/s", upserts=("a[]",), limits=()).record_limit == 10_000


def test_an_error_rule_that_matches_everything_is_refused() -> None:
    with pytest.raises(DeclarationError, match="it would match every error"):
        ErrorRule(ErrorAction.RETRY)


@pytest.mark.parametrize("burst", [0, 10, 11])
def test_a_burst_that_leaves_no_room_for_steady_calls_is_refused(burst: int) -> None:
    with pytest.raises(DeclarationError, match="the burst at least 1 and below the calls"):
        RateLimit(LimitScope.CLIENT, calls=10, per=timedelta(minutes=1), burst=burst)


@pytest.mark.parametrize("priority", [0, 10])
def test_a_queue_priority_out_of_range_is_refused(priority: int) -> None:
    with pytest.raises(DeclarationError, match=f"queue etl: priority is {priority}"):
        replace(ETL, priority=priority)


def test_an_invalid_duration_of_a_limit_or_provider_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"limit: per is 60 \(int\); write a timedelta"):
        RateLimit(LimitScope.CLIENT, calls=10, per=60, burst=1)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="provider plaid: timeout is 0:00:00; it must be longer than 0"):
        replace(PLAID, timeout=timedelta())
