from collections import defaultdict
from datetime import timedelta

import pytest

from dev.bank.bank import Bank
from dev.bank.world.ledger import MAX_TRANSACTION_LIFETIME, Change, Event
from dev.bank.world.lifecycle import TIPPED_CATEGORIES
from dev.bank.world.transactions import TransactionCode

Lives = dict[str, list[Event]]


@pytest.fixture(scope="module")
def lives(bank: Bank) -> Lives:
    lives: Lives = defaultdict(list)
    for number in range(60):
        ledger = bank.ledger(number)
        for _, happened in ledger.days(ledger.first_day, bank.today):
            for event in happened:
                lives[event.transaction_id].append(event)
    return lives


def pendings(lives: Lives) -> dict[str, list[Event]]:
    return {identity: life for identity, life in lives.items() if life[0].transaction.pending}


def successors(lives: Lives) -> dict[str, Event]:
    return {life[0].pending_id: life[0] for life in lives.values() if life[0].pending_id is not None}


def test_most_card_purchases_are_pending_first_and_nothing_else_is(lives: Lives) -> None:
    bought = [life[0].transaction for life in lives.values() if life[0].transaction.code is TransactionCode.PURCHASE]
    born = [life[0] for life in lives.values() if not life[0].pending_id]
    purchases = [each for each in born if each.transaction.code is TransactionCode.PURCHASE]
    assert 0.8 < sum(each.transaction.pending for each in purchases) / len(purchases) < 0.9
    assert not any(each.transaction.pending for each in born if each.transaction.code is not TransactionCode.PURCHASE)
    assert len(bought) > 5_000


def test_a_pending_transaction_is_removed_after_one_to_three_days(lives: Lives, bank: Bank) -> None:
    ended = [life for life in pendings(lives).values() if len(life) > 1]
    assert {life[1].change for life in ended} == {Change.REMOVED}
    assert {life[1].happened_on - life[0].happened_on for life in ended} == {timedelta(days=each) for each in (1, 2, 3)}
    alive = [life[0] for life in pendings(lives).values() if len(life) == 1]
    assert all(each.happened_on > bank.today - timedelta(days=3) for each in alive)


def test_what_posts_names_the_pending_transaction_that_went_the_same_day(lives: Lives) -> None:
    pending = pendings(lives)
    for identity, posted in successors(lives).items():
        assert pending[identity][1].happened_on == posted.happened_on
        assert posted.transaction_id != identity
        assert not posted.transaction.pending
        assert posted.transaction.account == pending[identity][0].transaction.account
        assert posted.transaction.authorized_at == pending[identity][0].transaction.authorized_at


def test_some_pending_transactions_never_post(lives: Lives) -> None:
    posted = successors(lives)
    ended = [identity for identity, life in pendings(lives).items() if len(life) > 1]
    assert 0.02 < sum(identity not in posted for identity in ended) / len(ended) < 0.06


def test_tips_raise_some_amounts_and_no_others_change(lives: Lives) -> None:
    pending = pendings(lives)
    raised = 0
    for identity, posted in successors(lives).items():
        asked = pending[identity][0].transaction
        if asked.amount_minor != posted.transaction.amount_minor:
            assert asked.category.detailed in TIPPED_CATEGORIES
            assert asked.amount_minor < posted.transaction.amount_minor
            raised += 1
    assert raised > 100


def test_some_posted_transactions_are_enriched_later(lives: Lives) -> None:
    modified = [life for life in lives.values() if any(each.change is Change.MODIFIED for each in life)]
    assert len(modified) > 100
    for first, second in modified:
        assert first.transaction.merchant is None
        assert second.transaction.merchant is not None
        assert first.transaction.name != second.transaction.name
        assert first.transaction.category != second.transaction.category
        assert (first.transaction.amount_minor, first.pending_id) == (
            second.transaction.amount_minor,
            second.pending_id,
        )


def test_a_few_posted_transactions_are_withdrawn(lives: Lives) -> None:
    posted = [life for life in lives.values() if not life[0].transaction.pending]
    withdrawn = [life for life in posted if life[-1].change is Change.REMOVED]
    assert 0 < len(withdrawn) < 0.01 * len(posted)


def test_a_purchase_is_settled_within_the_reach_of_a_ledger(lives: Lives) -> None:
    pending = pendings(lives)
    ages = [
        life[-1].happened_on
        - (pending[life[0].pending_id][0].happened_on if life[0].pending_id else life[0].happened_on)
        for life in lives.values()
    ]
    assert timedelta(days=8) < max(ages) <= MAX_TRANSACTION_LIFETIME


def test_a_removal_and_what_replaces_it_come_in_either_order(bank: Bank) -> None:
    orders = set()
    for number in range(30):
        ledger = bank.ledger(number)
        for _, happened in ledger.days(ledger.first_day, bank.today):
            places = {event.transaction_id: place for place, event in enumerate(happened)}
            orders |= {
                (places[event.pending_id] < places[event.transaction_id], len(happened) > 2)
                for event in happened
                if event.pending_id in places
            }
    assert {(True, True), (False, True)} <= orders
