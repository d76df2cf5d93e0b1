"""Declarations that Python accepts and that no run could work with: each is refused with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.notices.low_balance.notice import LOW_BALANCE
from etl.catalog.queues import EMAILS, ETL, LOW_PRIORITY
from etl.declare import consistency
from etl.declare.api.auth import ApiKey, BasicAuth, TokenHeader
from etl.declare.api.derived import Settlement
from etl.declare.api.paging import Flag, LinkHeader, OffsetPaging, PageNumberPaging, TokenPaging, Total
from etl.declare.api.part import Part
from etl.declare.api.request import Encoding, Placeholder, Text
from etl.declare.api.value import ByList, FromColumn, Identity
from etl.declare.channel import Channel
from etl.declare.check import ExactlyOne, NotEmpty
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.provider import Enrolment, ErrorAction, ErrorRule, LimitScope, Provider, RateLimit
from etl.declare.queue import WorkerGroup, validate_queues
from etl.declare.source import Feed, RawOf, Snapshot
from etl.errors import DeclarationError

P, TEXT = Placeholder, ColumnType.TEXT
BANK = Provider(name="bank", connection="bank")
LIST = Snapshot(name="rows", path="/rows", upserts=("rows[]",))
FEED = Feed(name="feed", path="/feed", query={"c": P.CURSOR}, upserts=("data.rows[]",), cursor="next", more="more")
THINGS = Entity("things", "Things.", BANK, LIST, ("id",), (Column("id", TEXT),), ETL, "0 0 * * *")
LIMIT = RateLimit(LimitScope.CLIENT, calls=10, per=timedelta(minutes=1), burst=1)


def incomplete(code: str, part: Part | None = None, field: str = "") -> ErrorRule:
    return ErrorRule(ErrorAction.INCOMPLETE, status=200, code=code, part=part, field=field)


def with_columns(*columns: Column, **changes: Any) -> Entity:
    return replace(THINGS, columns=(*THINGS.columns, *columns), **changes)


COLUMNS: list[tuple[Callable[[], Any], str]] = [
    (lambda: Column("x", TEXT, max_length=2, default="abc"), "the constant 'abc' is longer than its max_length, 2"),
    (lambda: Column("x", TEXT, max_length=2, fill=ByList({"rows[]": "abc"})), "'abc' is longer than its max_length"),
    (lambda: Column("x", TEXT, default="a\0"), "has a NUL or half a surrogate pair, which Postgres cannot store"),
    (lambda: Column("x", ColumnType.INTEGER, default=2**63), "the constant 9223372036854775808 does not fit 64 bits"),
    (lambda: Column("x", ColumnType.INTEGER, null_values=(-(2**63) - 1,)), "does not fit 64 bits"),
    (lambda: Column("ctid", TEXT), "every table of Postgres has a column of this name"),
    (lambda: Column("x", ColumnType.DATE, format="%d.%m.%Y%"), "with a single '%' at its end"),
    (lambda: ByList({}), "ByList: values is empty"),
    (lambda: FromColumn(3), r"FromColumn: column is 3 \(int\); write a str"),  # type: ignore[arg-type]
    (lambda: Identity("a", "a"), "Identity: columns names 'a' twice"),
    (lambda: ExactlyOne(("a", "a")), "check exactly_one: columns names 'a' twice"),
    (lambda: Settlement(amount="a", currency="a"), "settlement: it names 'a' twice"),
    (lambda: replace(THINGS, key=("id", "id")), "key names 'id' twice; remove one"),
    (lambda: replace(THINGS, key=("provider_account_id",)), "key has only provider_account_id"),
    (
        lambda: with_columns(Column("m", ColumnType.MONEY), Column("c", TEXT), currencies=("c", "c")),
        "currencies names 'c' twice",
    ),
    (lambda: with_columns(checks=(NotEmpty(["id"]),)), "a column of check not_empty is"),  # type: ignore[arg-type]
    (lambda: with_columns(Column("x", TEXT, fill=ByList({"other[]": "a"}))), r"but no source has 'other\[\]'"),
    (
        lambda: replace(MERCHANTS, columns=(*MERCHANTS.columns, Column("x", TEXT, fill=ByList({"other[]": "a"})))),
        r"without a value for 'added\[\].counterparties\[\]'",
    ),
    (lambda: replace(TRANSACTIONS, replaces="transaction_id"), "replaces is 'transaction_id', its own key"),
    (lambda: with_columns(hook=lambda: None), "write a function of one frame"),
]
REQUESTS: list[tuple[Callable[[], Any], str]] = [
    (lambda: replace(LIST, query={"t": "{access_token}"}), r"in which {access_token} is not filled; write Text\('{acc"),
    (lambda: replace(LIST, body={"a": {"t": "x {item_id}"}}), r"body\['a'\]\['t'\] is the constant 'x {item_id}'"),
    (lambda: replace(LIST, body={"a": [P.ACCESS_TOKEN]}), r"an item of body\['a'\] is .*Placeholder\); write a text"),
    (lambda: replace(LIST, body={"a": object()}), r"body\['a'\] is <object .* \(object\); write a text, a number"),
    (lambda: replace(LIST, query={"a": None}), r"query\['a'\] is None \(NoneType\); write a text"),
    (lambda: replace(LIST, query={"a": float("nan")}), r"query\['a'\] is nan \(float\)"),
    (lambda: replace(LIST, query={"a": Placeholder}), r"query\['a'\] is <enum 'Placeholder'>"),
    (lambda: replace(LIST, query={3: "x"}), r"a name in query is 3 \(int\)"),  # type: ignore[dict-item]
    (lambda: replace(LIST, query={"a": {"b": 1}}), r"query\['a'\] is nested; only a JSON body is"),
    (lambda: replace(LIST, body={"a": [1]}, encoding=Encoding.FORM), r"body\['a'\] is nested; only a JSON body is"),
    (lambda: replace(LIST, headers={"a b": "x"}), "headers has 'a b', which is no name of a header"),
    (lambda: replace(LIST, headers={"a": "x\ny"}), r"headers\['a'\] is .* with a control character"),
    (lambda: replace(LIST, path="/../admin"), "path is '/../admin'; write the parts of a URL between single '/'"),
    (lambda: replace(LIST, path="//other.example/x"), "write the parts of a URL between single '/'"),
    (lambda: replace(LIST, path="/a b"), "write the parts of a URL between single '/'"),
    (lambda: replace(LIST, upserts=("rows[]", "rows[]")), r"the list 'rows\[\]' is named twice; remove one"),
    (lambda: replace(LIST, upserts=("a[]", "a.b[]")), r"'a\[\]' is a list, and cannot hold 'a.b\[\]'"),
    (lambda: replace(FEED, deletes=("data.rows[]",)), r"the list 'data.rows\[\]' is named twice"),
    (lambda: replace(LIST, optional=("rows[]", "rows[]")), "optional names a list twice"),
    (lambda: replace(LIST, limits=(LIMIT, LIMIT)), "limits has several of LimitScope.CLIENT, which would share one"),
    (lambda: replace(FEED, cursor="data.rows"), "cursor is 'data.rows', but 'data.rows' holds the records"),
    (lambda: replace(FEED, cursor="data.rows.next"), "cursor is 'data.rows.next', but 'data.rows' holds the records"),
    (lambda: replace(FEED, cursor="data"), "cursor is 'data', but 'data.rows' holds the records"),
    (lambda: replace(FEED, more="next"), "cursor is 'next', and more is 'next', but one field cannot be both"),
    (lambda: replace(FEED, more=Flag("next.more")), "cursor is 'next', and more is 'next.more'"),
    (lambda: replace(FEED, cursor_life=timedelta(days=-1)), "cursor_life is -1 day.*; it must be longer than 0"),
    (
        lambda: replace(LIST, query={"t": P.PAGE_TOKEN}, paging=TokenPaging("rows.next")),
        "paging is 'rows.next', but 'rows' holds the records",
    ),
    (
        lambda: replace(LIST, query={"t": P.PAGE_TOKEN}, paging=TokenPaging("next", end=Flag("next"))),
        "paging is 'next', and end is 'next'",
    ),
    (
        lambda: replace(
            LIST, upserts=("row{}",), query={"n": P.PAGE_NUMBER}, paging=PageNumberPaging(end=Flag("row.more"))
        ),
        "end is 'row.more', but 'row' holds the records",
    ),
    (
        lambda: replace(LIST, query={"o": P.OFFSET}, paging=OffsetPaging(end=Total("rows"))),
        "end is 'rows', but 'rows' holds the records",
    ),
    (lambda: PageNumberPaging(end=Flag("more"), first=7), "first is 7; it must be between 0 and 1"),
    (lambda: LinkHeader(" "), "LinkHeader: rel is empty"),
    (lambda: RawOf("transactions", {"s": ("a[]",)}, having="a.b"), "having is 'a.b'; write the name of a field"),
]
PROVIDERS: list[tuple[Callable[[], Any], str]] = [
    (lambda: TokenHeader(header="Bad Header"), "header has 'Bad Header', which is no name of a header"),
    (lambda: TokenHeader(Text("{access_token} {cursor}")), "text has Placeholder.CURSOR, which does not tell who asks"),
    (lambda: BasicAuth(username=P.CURSOR), "BasicAuth: username has Placeholder.CURSOR, which does not tell who asks"),
    (lambda: ApiKey("k", value=P.PAGE_NUMBER), "ApiKey: value has Placeholder.PAGE_NUMBER"),
    (lambda: ApiKey("a key"), "ApiKey: name has 'a key', which is no name of a header"),
    (
        lambda: replace(BANK, auth=TokenHeader(), headers={"authorization": "x"}),
        "headers has 'authorization', which auth sends, too",
    ),
    (lambda: replace(BANK, connection=""), "connection is empty; write the id of an Airflow connection"),
    (lambda: ErrorRule(ErrorAction.RETRY, status=700), "status is 700; write one of HTTP"),
    (lambda: ErrorRule(ErrorAction.RETRY, code=""), "code is empty; write a code"),
    (
        lambda: replace(
            BANK,
            errors=(ErrorRule(ErrorAction.RETRY, status=400), ErrorRule(ErrorAction.RETRY, status=400, code="A")),
        ),
        "the error rule for status 400 and code A never applies, since the one for status 400 comes before it",
    ),
    (
        lambda: replace(
            BANK, errors=(ErrorRule(ErrorAction.RETRY, code="gen.*"), ErrorRule(ErrorAction.NOT_READY, code="gen.x"))
        ),
        r"the error rule for code gen.x never applies, since the one for code gen.\* comes before it",
    ),
    (
        lambda: replace(BANK, errors=(incomplete("A", Part(field="a", column="a")), incomplete("A"))),
        "the error rule for status 200 and code A never applies",
    ),
    (
        lambda: Enrolment(path="/{public_token}", item_id="a", expects={"s": 3}),  # type: ignore[dict-item]
        r"expects\['s'\] is 3 \(int\)",
    ),
]
OTHERS: list[tuple[Callable[[], Any], str]] = [
    (lambda: replace(THINGS, name="provider_accounts"), "core.provider_accounts is a table or view of Sluice itself"),
    (lambda: replace(THINGS, name="t" * 58), "its name has 58 letters; shorten it to 57 at most"),
    (lambda: replace(THINGS, timeout=timedelta(hours=13)), "timeout is 13:00:00, above 12:00:00; split its work"),
    (lambda: replace(LOW_BALANCE, timeout=timedelta(hours=13)), "timeout is 13:00:00, above 12:00:00"),
    (
        lambda: replace(TRANSACTIONS, window=replace(TRANSACTIONS.window, name="transactions_sync")),  # type: ignore[type-var]
        "window and source are both named transactions_sync",
    ),
    (lambda: replace(LOW_BALANCE, parameters={"unsubscribe_url": "x"}), "has the name of a value of each recipient"),
    (lambda: replace(LOW_BALANCE, period="%Y-%Q"), "which has '%Q'; write strftime directives"),
    (lambda: replace(LOW_BALANCE, period="%Y%"), "which has '%'; write strftime directives"),
    (lambda: replace(LOW_BALANCE, period="%Y\0"), "which has 'a control character'"),
    (lambda: Channel("email", lines=(), texts=(), pace=1), "parts is empty"),
    (lambda: Channel("email", lines=("a",), texts=("a",), pace=1), "its parts names 'a' twice"),
    (lambda: Channel("email", lines=("a/b",), texts=(), pace=1), "the name of a part is 'a/b'"),
    (lambda: WorkerGroup("g", 1, helps="emails"), "helps is 'emails'"),  # type: ignore[arg-type]
    (
        lambda: validate_queues(replace(ETL, group=replace(LOW_PRIORITY, helps=("nope",)))),
        "helps has 'nope', which is no queue; name one of etl",
    ),
    (
        lambda: validate_queues(ETL, replace(EMAILS, group=WorkerGroup("low_priority", processes=9))),
        "queues: their worker groups names 'low_priority' twice",
    ),
    (lambda: validate_queues(replace(ETL, name="dag_test")), "queues: their pools names 'dag_test' twice"),
    (lambda: validate_queues(ETL, replace(EMAILS, name="etl_backfill")), "their pools names 'etl_backfill' twice"),
]


@pytest.mark.parametrize(("declare", "message"), [*COLUMNS, *REQUESTS, *PROVIDERS, *OTHERS])
def test_a_declaration_that_no_run_could_work_with_is_refused(declare: Callable[[], Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declare()


@pytest.mark.parametrize(
    "declare",
    [
        lambda: replace(LIST, body={"a": {"b": [1, "x", {"c": True}]}, "d": P.ITEM_ID, "e": 1.5}),
        lambda: replace(LIST, upserts=("row{}",)),
        lambda: replace(BANK, errors=(incomplete("A"), ErrorRule(ErrorAction.STOP_ACCOUNT, status=200, code="A"))),
        lambda: replace(BANK, errors=(incomplete("A", field="a[].b"), incomplete("A", field="c[].b"))),
        lambda: replace(BANK, errors=(incomplete("A.x"), incomplete("A.*"))),
        lambda: replace(
            BANK, errors=(ErrorRule(ErrorAction.REREAD_FEED, code="A"), ErrorRule(ErrorAction.STOP_ACCOUNT, code="A"))
        ),
        lambda: replace(LIST, path="/v1/accounts/{item_id}/rows.json"),
        lambda: replace(FEED, cursor="page.next", more="page.more"),
        lambda: replace(
            BANK, errors=(ErrorRule(ErrorAction.RETRY, code="A"), ErrorRule(ErrorAction.RETRY, status=400))
        ),
        lambda: with_columns(Column("order", TEXT), Column("group", TEXT)),
        lambda: with_columns(Column("x", TEXT, fill=ByList({"rows[]": "a"}))),
        lambda: replace(LOW_BALANCE, period="%G-W%V"),
    ],
)
def test_what_a_run_can_work_with_is_accepted(declare: Callable[[], Any]) -> None:
    declare()


@pytest.mark.parametrize("name", ["transactions_history", "transactions_03"])
def test_an_entity_cannot_have_the_name_of_a_table_of_another_one(name: str) -> None:
    entities = {"transactions": TRANSACTIONS, "accounts": ACCOUNTS, name: replace(THINGS, name=name)}
    (found,) = consistency.find_contradictions(entities, names=entities).items()
    assert found[0] == name
    assert f"core.{name} is a table of transactions" in found[1]


@pytest.mark.parametrize("name", ["price_history", "accounts_03", "statements_24"])
def test_a_name_that_only_looks_like_one_is_accepted(name: str) -> None:
    entities = {"accounts": ACCOUNTS, name: replace(THINGS, name=name)}
    assert consistency.find_contradictions(entities, names=entities) == {}
