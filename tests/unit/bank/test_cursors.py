from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.bank.bank import Bank
from dev.bank.feed import cursors
from dev.bank.feed.cursors import CursorInvalid, Stream
from dev.bank.feed.feed import EventOffset, Outflows, Position

offsets = st.builds(EventOffset, st.dates(), st.integers(0, 2**16 - 1))
amounts = st.integers(-(2**63), 2**63 - 1)
outflows = st.integers(0, 3).flatmap(
    lambda size: st.builds(Outflows, *(st.tuples(*[amounts] * size) for _ in range(2)))
)
positions = st.one_of(
    st.builds(Position.between_loops, offsets, outflows),
    st.builds(Position, offsets, offsets, offsets, outflows).filter(lambda position: position.is_mid_loop),
)
POSITION = Position.between_loops(EventOffset(date(2026, 6, 29), 3), Outflows((12_05, -7), (0, 3)))


def stream_of(bank: Bank, item: int) -> Stream:
    return Stream(bank.ledger(item).item)


@settings(max_examples=50, deadline=None)
@given(position=positions, item=st.integers(0, 2**64 - 1))
def test_a_cursor_decodes_to_its_position(bank: Bank, position: Position, item: int) -> None:
    stream = Stream(bank.ledger(item).item)
    assert cursors.unseal(bank.key, stream, cursors.seal(bank.key, stream, position)) == position


@settings(max_examples=50, deadline=None)
@given(position=positions)
def test_a_cursor_fits_in_256_characters(bank: Bank, position: Position) -> None:
    assert len(cursors.seal(bank.key, Stream(bank.ledger(1).item), position)) <= 256


def test_a_cursor_of_another_item_is_refused(bank: Bank) -> None:
    with pytest.raises(CursorInvalid, match="not issued for this item"):
        cursors.unseal(
            bank.key, Stream(bank.ledger(2).item), cursors.seal(bank.key, Stream(bank.ledger(1).item), POSITION)
        )


def test_a_cursor_of_one_account_is_refused_for_all(bank: Bank) -> None:
    item = bank.ledger(1).item
    with pytest.raises(CursorInvalid):
        cursors.unseal(bank.key, Stream(item), cursors.seal(bank.key, Stream(item, item.accounts[0]), POSITION))


def test_a_cursor_of_another_seed_is_refused(bank: Bank) -> None:
    other = Bank.from_seed("other", opened_on=bank.opened_on, today=bank.today)
    with pytest.raises(CursorInvalid):
        cursors.unseal(
            bank.key, Stream(bank.ledger(1).item), cursors.seal(other.key, Stream(bank.ledger(1).item), POSITION)
        )


@settings(max_examples=50, deadline=None)
@given(text=st.text())
def test_a_made_up_cursor_is_refused(bank: Bank, text: str) -> None:
    with pytest.raises(CursorInvalid):
        cursors.unseal(bank.key, Stream(bank.ledger(1).item), text)


@settings(max_examples=50, deadline=None)
@given(at=st.integers(0, 50), letter=st.sampled_from("AZaz09+/"))
def test_a_changed_cursor_is_refused(bank: Bank, at: int, letter: str) -> None:
    stream = Stream(bank.ledger(1).item)
    cursor = cursors.seal(bank.key, stream, POSITION)
    changed = f"{cursor[:at]}{letter}{cursor[at + 1 :]}"
    if changed != cursor:
        with pytest.raises(CursorInvalid):
            cursors.unseal(bank.key, stream, changed)
