"""What the bank remembers of the readers of its feeds, so that it can be wrong about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from dev.bank.faults import Fault, Faults
from dev.bank.feed.feed import Position, Update
from dev.bank.hostile.quirks import extra_event
from dev.bank.world.ledger import Change, Ledger
from dev.bank.world.seed import Key, pack

SHORT_HISTORY = timedelta(days=20)
"""Days before today that a full read covers if its history is short."""

ANCIENT_RECORD = "ancient record"
"""Names the transaction dated 0001-01-01."""

_MISSING_SHARES = (20, 2)
"""A read that lacks rows lacks one in so many."""


@dataclass(frozen=True, slots=True)
class FullRead:
    """How a read of a feed from its beginning differs from what the ledger holds.

    Parameters
    ----------
    first_on
        First day of which it has transactions, except those of before the ledger began; None for all days.
    missing_share
        It lacks one in so many transactions; None if none for this reason.
    missing_account
        Ordinal of the account that it lacks.
    is_empty
        Whether it has no record at all.
    has_ancient_record
        Whether its first page has one record more, which no ledger holds.
    """

    key: Key
    faults: Faults
    ledger_began_on: date
    first_on: date | None = None
    missing_share: int | None = None
    missing_account: int | None = None
    is_empty: bool = False
    has_ancient_record: bool = False

    @property
    def lacks_records(self) -> bool:
        """Whether it lacks records that it should have."""
        return self.is_empty or self.missing_share is not None or self.missing_account is not None

    def keep(self, updates: Sequence[Update]) -> Sequence[Update]:
        """Return those updates of a page that it has."""
        return [each for each in updates if self._has(each)]

    def more_updates(self, ledger: Ledger) -> Sequence[Update]:
        """Return the updates that its first page has besides."""
        if not self.has_ancient_record:
            return []
        at = datetime(1, 1, 1, tzinfo=UTC)
        event = extra_event(self.key, ledger.item, ANCIENT_RECORD, happened_on=ledger.first_day, at=at)
        return [Update(Change.ADDED, event)]

    def _has(self, update: Update) -> bool:
        transaction, identity = update.event.transaction, update.event.transaction_id.encode()
        dated = transaction.posted_at.date()
        is_too_old = self.first_on is not None and self.ledger_began_on <= dated < self.first_on
        is_missing = self.missing_share is not None and not self.faults.choose(
            self.key, Fault.REREAD_LACKS_ROWS, identity, count=self.missing_share
        )
        return not (self.is_empty or is_too_old or is_missing or transaction.account.ordinal == self.missing_account)


@dataclass
class _CursorValues:
    """The cursors of an item whose values return: value → sealed cursor, oldest first, and which may be taken again."""

    sealed_by_value: dict[str, str] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)

    def issue(self, sealed: str, item: int) -> str:
        """Return the value of a sealed cursor: its own, one that is free, or a new one."""
        for value, known in self.sealed_by_value.items():
            if known == sealed and value not in self.free:
                return value
        value = self.free.pop(0) if self.free else f"c{2 * len(self.sealed_by_value) + 1}-{item}"
        self.sealed_by_value.pop(value, None)
        self.sealed_by_value[value] = sealed
        return value

    def acknowledge(self, value: str) -> None:
        """Free the values that were issued before `value`: whoever holds this one has loaded what they led to."""
        for earlier in self.sealed_by_value:
            if earlier == value:
                return
            if earlier not in self.free:
                self.free.append(earlier)


@dataclass
class Readers:
    """The readers of all items; each item has one.

    Parameters
    ----------
    misled
        Items of which a full read lacked records that it should have had.
    read_again_on
        Item → days on which it was read from the beginning by a reader that had read it before.
    """

    misled: set[int] = field(default_factory=set)
    read_again_on: dict[int, set[date]] = field(default_factory=dict)
    _finished: set[int] = field(default_factory=set)
    _positions: dict[int, Position] = field(default_factory=dict)
    _full_reads: dict[int, FullRead] = field(default_factory=dict)
    _full_read_counts: dict[int, int] = field(default_factory=dict)
    _values: dict[int, _CursorValues] = field(default_factory=dict)

    def begin_full_read(self, key: Key, faults: Faults, ledger: Ledger, *, today: date) -> None:
        """Draw how a read from the beginning will differ; none does before its reader has asked for later changes."""
        number = ledger.item.number
        self._full_reads.pop(number, None)
        if number in self._finished:
            self.read_again_on.setdefault(number, set()).add(today)
        if number not in self._positions:
            return
        count = self._full_read_counts[number] = self._full_read_counts.get(number, 0) + 1
        subject = pack(number, count)
        account_count = len(ledger.item.accounts)

        def strikes(fault: Fault) -> bool:
            return faults.strikes(key, fault, subject)

        full_read = FullRead(
            key,
            faults,
            ledger.first_day,
            self._short_history(ledger, today) if strikes(Fault.SHORT_HISTORY) else None,
            _MISSING_SHARES[faults.choose(key, Fault.REREAD_LACKS_ROWS, subject, count=2)]
            if strikes(Fault.REREAD_LACKS_ROWS)
            else None,
            faults.choose(key, Fault.REREAD_LACKS_ACCOUNT, subject, count=account_count)
            if strikes(Fault.REREAD_LACKS_ACCOUNT)
            else None,
            is_empty=strikes(Fault.REREAD_EMPTY),
            has_ancient_record=strikes(Fault.ANCIENT_RECORD),
        )
        self._full_reads[number] = full_read
        if full_read.lacks_records:
            self.misled.add(number)

    def full_read(self, item: int) -> FullRead | None:
        """Return how the item's full read differs; None if it does not."""
        return self._full_reads.get(item)

    def finish(self, item: int) -> None:
        """Note that the item's reader was sent all that its feed held, though it may never ask for later changes."""
        self._finished.add(item)

    def acknowledge(self, item: int, cursor: str, position: Position) -> None:
        """Note that the item's reader asked for what follows a cursor between two loops."""
        self._positions[item] = position
        if item in self._values and cursor in self._values[item].sealed_by_value:
            self._values[item].acknowledge(cursor)

    def issue(self, item: int, sealed: str) -> str:
        """Return the value of a sealed cursor of an item whose values return."""
        return self._values.setdefault(item, _CursorValues()).issue(sealed, item)

    def resolve(self, item: int, cursor: str) -> str:
        """Return the sealed cursor that a value stands for; the value itself if it is a sealed cursor."""
        return self._values[item].sealed_by_value.get(cursor, cursor) if item in self._values else cursor

    def _short_history(self, ledger: Ledger, today: date) -> date | None:
        """Return the first day of a short history; None if an older transaction has changed since the reader's last."""
        first_on = date.fromordinal(max(1, today.toordinal() - SHORT_HISTORY.days))
        changed = ledger.days(self._positions[ledger.item.number].next_event.day, today)
        is_reported = any(event.transaction.posted_at.date() < first_on for _, events in changed for event in events)
        return None if is_reported else first_on
