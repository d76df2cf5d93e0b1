from datetime import UTC, date, datetime

import pytest
from msgspec import UNSET

from dev.bank.api import render
from dev.bank.bank import Bank
from dev.bank.feed import feed
from dev.bank.world import institutions
from dev.bank.world.accounts import AccountKind
from dev.bank.world.items import Item

TODAY = date(2026, 6, 29)
BANK = Bank.from_seed("seed", opened_on=date(2026, 6, 1), today=TODAY)
IDS = [institution.institution_id for institution in institutions.INSTITUTIONS]


def item_of(institution_id: str) -> Item:
    items = (BANK.ledger(number).item for number in range(500))
    return next(
        item
        for item in items
        if item.institution.institution_id == institution_id
        and any(account.kind is AccountKind.CREDIT_CARD for account in item.accounts)
    )


@pytest.mark.parametrize("institution_id", IDS)
def test_only_deposit_accounts_of_some_institutions_have_a_persistent_id(institution_id: str) -> None:
    for account in item_of(institution_id).accounts:
        is_expected = institution_id == "ins_109509" and account.kind is not AccountKind.CREDIT_CARD
        assert (account.persistent_id is not None) == is_expected


@pytest.mark.parametrize("institution_id", IDS)
def test_only_some_institutions_say_as_of_when_their_balances_are(institution_id: str) -> None:
    item = item_of(institution_id)
    ledger = BANK.ledger(item.number)
    outflows = feed.end_position(ledger, feed.start_position(ledger), today=TODAY).outflows
    times = {
        each.balances.last_updated_datetime for each in render.accounts(item, item.accounts, outflows, today=TODAY)
    }
    assert times == {datetime(2026, 6, 29, tzinfo=UTC) if institution_id == "ins_109510" else UNSET}
