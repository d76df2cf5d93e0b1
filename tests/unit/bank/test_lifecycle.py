from collections import defaultdict
from datetime import timedelta

import pytest

from dev.bank.bank import Bank
from dev.bank.world.ledger import MAX_TRANSACTION_LIFETIME, Change, Event
from dev.bank.world.lifecycle import TIPPED_CATEGORIES
from dev.bank.world.transactions import TransactionCode

EventsById = dict[str, list[Event]]


@pytest.fixture(scope="module")
def events_by_id(bank: Bank) -> EventsById:
    events_by_id: EventsById = defaultdict(list)
    for number in range(60):
        ledger = bank.ledger(number)
        for _, day_events in ledger.days(ledger.first_day, bank.today):
            for event in day_events:
                events_by_id[event.transaction_id].append(event)
    return events_by_id


def pendings(events_by_id: EventsById) -> dict[str, list[Event]]:
    return {identity: events for identity, events in events_by_id.items() if events[0].transaction.pending}


def successors(events_by_id: EventsById) -> dict[str, Event]:
    return {events[0].pending_id: events[0] for events in events_by_id.values() if events[0].pending_id is not None}


def test_most_card_purchases_and_no_other_transactions_are_pending_first(events_by_id: EventsById) -> None:
    purchases_and_successors = [
        events[0].transaction
        for events in events_by_id.values()
        if events[0].transaction.code is TransactionCode.PURCHASE
    ]
    first_events = [events[0] for events in events_by_id.values() if not events[0].pending_id]
    purchases = [each for each in first_events if each.transaction.code is TransactionCode.PURCHASE]
    assert 0.8 < sum(each.transaction.pending for each in purchases) / len(purchases) < 0.9
    assert not any(
        each.transaction.pending for each in first_events if each.transaction.code is not TransactionCode.PURCHASE
    )
    assert len(purchases_and_successors) > 5_000


def test_a_pending_transaction_is_removed_after_one_to_three_days(events_by_id: EventsById, bank: Bank) -> None:
    removed = [events for events in pendings(events_by_id).values() if len(events) > 1]
    assert {events[1].change for events in removed} == {Change.REMOVED}
    assert {events[1].happened_on - events[0].happened_on for events in removed} == {
        timedelta(days=each) for each in (1, 2, 3)
    }
    still_pending = [events[0] for events in pendings(events_by_id).values() if len(events) == 1]
    assert all(each.happened_on > bank.today - timedelta(days=3) for each in still_pending)


def test_a_posted_transaction_names_the_pending_one_removed_the_same_day(events_by_id: EventsById) -> None:
    pending = pendings(events_by_id)
    for identity, posted in successors(events_by_id).items():
        assert pending[identity][1].happened_on == posted.happened_on
        assert posted.transaction_id != identity
        assert not posted.transaction.pending
        assert posted.transaction.account == pending[identity][0].transaction.account
        assert posted.transaction.authorized_at == pending[identity][0].transaction.authorized_at


def test_some_pending_transactions_never_post(events_by_id: EventsById) -> None:
    posted = successors(events_by_id)
    removed = [identity for identity, events in pendings(events_by_id).items() if len(events) > 1]
    assert 0.02 < sum(identity not in posted for identity in removed) / len(removed) < 0.06


def test_tips_raise_some_amounts_and_no_other_amount_changes(events_by_id: EventsById) -> None:
    pending = pendings(events_by_id)
    raised = 0
    for identity, posted in successors(events_by_id).items():
        authorized = pending[identity][0].transaction
        if authorized.amount_minor != posted.transaction.amount_minor:
            assert authorized.category.detailed in TIPPED_CATEGORIES
            assert authorized.amount_minor < posted.transaction.amount_minor
            raised += 1
    assert raised > 100


def test_some_posted_transactions_are_enriched_later(events_by_id: EventsById) -> None:
    modified = [events for events in events_by_id.values() if any(each.change is Change.MODIFIED for each in events)]
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


def test_a_few_posted_transactions_are_withdrawn(events_by_id: EventsById) -> None:
    posted = [events for events in events_by_id.values() if not events[0].transaction.pending]
    withdrawn = [events for events in posted if events[-1].change is Change.REMOVED]
    assert 0 < len(withdrawn) < 0.01 * len(posted)


def test_a_purchase_has_its_last_event_within_the_maximum_lifetime(events_by_id: EventsById) -> None:
    pending = pendings(events_by_id)
    ages = [
        events[-1].happened_on
        - (pending[events[0].pending_id][0].happened_on if events[0].pending_id else events[0].happened_on)
        for events in events_by_id.values()
    ]
    assert timedelta(days=8) < max(ages) <= MAX_TRANSACTION_LIFETIME


def test_a_removal_and_what_replaces_it_come_in_either_order(bank: Bank) -> None:
    orders = set()
    for number in range(30):
        ledger = bank.ledger(number)
        for _, day_events in ledger.days(ledger.first_day, bank.today):
            positions = {event.transaction_id: position for position, event in enumerate(day_events)}
            orders |= {
                (positions[event.pending_id] < positions[event.transaction_id], len(day_events) > 2)
                for event in day_events
                if event.pending_id in positions
            }
    assert {(True, True), (False, True)} <= orders
