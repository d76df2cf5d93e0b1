from datetime import date
from pathlib import Path

import pytest

from dev.bank import journal
from dev.bank.changes import Access, AccessChanged, Changes, CreatedTransaction, JournalEntry, TransactionsCreated
from dev.bank.journal import JournalUnreadable

DAY = date(2026, 6, 29)
COFFEE = CreatedTransaction(DAY, DAY, DAY, 305, "COFFEE")
ENTRIES: list[JournalEntry] = [
    AccessChanged(7, Access.LOCKED),
    TransactionsCreated(2**64 - 1, [COFFEE, COFFEE]),
    AccessChanged(8, Access.REMOVED),
    AccessChanged(7, Access.OPEN),
    TransactionsCreated(2**64 - 1, [COFFEE]),
]


def test_an_item_is_open_unless_it_was_locked_or_removed() -> None:
    changes = Changes(ENTRIES[:3])
    assert [changes.access(item) for item in (6, 7, 8)] == [Access.OPEN, Access.LOCKED, Access.REMOVED]
    changes.record(AccessChanged(7, Access.OPEN))
    assert changes.access(7) is Access.OPEN


def test_created_transactions_accumulate() -> None:
    assert list(Changes(ENTRIES).created(2**64 - 1)) == [COFFEE] * 3
    assert list(Changes(ENTRIES).created(7)) == []


def test_a_change_that_cannot_be_written_has_no_effect() -> None:
    def fail(entry: JournalEntry) -> None:
        raise OSError

    changes = Changes(write=fail)
    with pytest.raises(OSError):
        changes.record(AccessChanged(7, Access.LOCKED))
    assert changes.access(7) is Access.OPEN


def test_a_journal_returns_the_entries_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert journal.read(path) == []
    changes = Changes(write=lambda entry: journal.append(path, entry))
    for entry in ENTRIES:
        changes.record(entry)
    assert journal.read(path) == ENTRIES


def test_an_incomplete_last_line_is_discarded_and_the_next_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal.append(path, ENTRIES[0])
    with path.open("ab") as file:
        file.write(b'{"type":"access_ch')
    assert journal.read(path) == ENTRIES[:1]
    journal.append(path, ENTRIES[2])
    assert journal.read(path) == [ENTRIES[0], ENTRIES[2]]


def test_a_line_that_is_not_an_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal.append(path, ENTRIES[0])
    with path.open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(JournalUnreadable, match=r"journal\.jsonl, line 2 is not an entry"):
        journal.read(path)
