"""What only the provider can prove: that it answers as the sandbox bank does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from etl.catalog.entities.accounts import ACCOUNTS
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.test_sync import read_amounts_from_bank

Rows = Callable[..., list[tuple[object, ...]]]


def test_feed_of_a_new_item_is_drained_and_then_brings_nothing(linked: Pipeline, rows: Rows) -> None:
    (first,) = linked.run("first")
    loaded = {str(key): amount for key, amount in rows("select transaction_id, amount from core.transactions")}
    assert loaded == read_amounts_from_bank(linked)
    assert (first.inserted, first.read) == (len(loaded), len(loaded))
    assert loaded
    state = "select xmin::text, ctid::text from core.transactions"
    before = Counter(rows(state))
    (second,) = linked.run("second")
    assert (second.read, Counter(rows(state))) == (0, before)


def test_every_transaction_is_of_an_account_that_the_item_has(linked: Pipeline, rows: Rows) -> None:
    linked.run("transactions")
    linked.entity = replace(ACCOUNTS, provider=linked.entity.provider)
    (accounts,) = linked.run("accounts")
    assert accounts.inserted == accounts.read > 0
    strangers = "select t.account_id from core.transactions as t left join core.accounts as a using (account_id) "
    assert rows(strangers + "where a.account_id is null") == []
