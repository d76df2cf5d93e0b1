"""Faults that the bank injects, each at a rate.

Whether a fault strikes a request, an item or a record is derived from the seed and from its identity, so that the same
requests in the same order meet the same faults. A rate below 1 lets a retry succeed; a rate of 1 always strikes.
"""

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Self

from dev.bank.feed.feed import EventOffset
from dev.bank.world.seed import HashDomain, Key, pack


class Fault(Enum):
    """A fault that the bank can inject, and what it does.

    What a fault strikes is named with each group. Those of items, accounts and transactions change what the bank holds:
    keep their rates as long as a reader reads, since the bank does not announce that its past has changed.
    """

    summary: str

    __hash__ = object.__hash__
    """By identity: that of an Enum hashes its name in Python, and takes most of the time of a draw."""

    def __new__(cls, name: str, summary: str = "") -> Self:
        """Return a fault whose value is its name."""
        fault = object.__new__(cls)
        fault._value_ = name
        fault.summary = summary
        return fault

    # Requests: each request of an item to an endpoint is drawn separately.
    SERVER_ERROR = "server_error", "a request gets INTERNAL_SERVER_ERROR"
    BAD_GATEWAY = "bad_gateway", "a request gets the error page of a proxy"
    NOT_JSON = "not_json", "a request gets an HTML page with status 200"
    TIMEOUT = "timeout", "a request gets no response"
    SLOW = "slow", "a response is delayed"
    RATE_LIMIT = "rate_limit", "a request gets RATE_LIMIT_EXCEEDED"
    RATE_LIMIT_RETRY_AFTER = "rate_limit_retry_after", "the same, with Retry-After: 1"
    LONG_WAIT = "long_wait", "the same, with Retry-After: 90"
    TRUNCATED_BODY = "truncated_body", "a response ends in its middle"
    CONNECTION_RESET = "connection_reset", "a connection is reset in place of a response"
    NOT_READY = "not_ready", "an item's transactions are not ready yet"
    MUTATION = "mutation", "the data changes before a page after the first of a loop, at most once per loop"
    EMPTY_RECORDS = "empty_records", "a page of transactions has a million records {} besides its own"
    OVERSIZED_PAGE = "oversized_page", "a page of the feed has many times the records that were asked for"
    WINDOW_SHIFT = "window_shift", "a page of a window begins one record too late, with the same total"
    DAILY_LIMIT = "daily_limit", "a request exceeds the limit that the bank behind a provider has for a day"
    EXPIRED_TOKEN = "expired_token", "the token of a request with OAuth has just expired"

    # Days: for as long as the bank's day lasts.
    WRONG_ENVIRONMENT = "wrong_environment", "every access token gets INVALID_ACCESS_TOKEN"
    LOGIN_REPAIRED = "login_repaired", "an item needs a login, which its user repairs in update mode: the token stays"

    # Items: each item, always the same ones.
    LOGIN_REQUIRED = "login_required", "an item needs a login, until it is linked again"
    REVOKED = "revoked", "an item's user has revoked the permission, until it is linked again"
    LINKED_AGAIN = "linked_again", "linking an item again makes a new one, of the same accounts with new ids"
    RETURNING_CURSOR = "returning_cursor", "an item's cursors take the values of earlier ones again: c3, c5, c3"
    BGN_ACCOUNTS = "bgn_accounts", "an item's accounts are in leva, a currency that ended in 2025"
    LARGE_LOGIN = "large_login", "an item has many times as many transactions as others"
    OLD_LOAN = "old_loan", "an item has one transaction that is two years older than the others"
    SPOILED_LOGIN = "spoiled_login", "most of an item's transactions have a currency code that nobody knows"
    NULL_CHANNEL = "null_channel", "an institution's transactions have no payment channel"

    # Cursors: each cursor between two loops, always the same ones.
    LOST_CURSOR = "lost_cursor", "a cursor gets INVALID_FIELD, as one that the provider has forgotten"

    # Reads of a feed from its beginning by a reader that has read it before: each is drawn separately.
    SHORT_HISTORY = "short_history", "a full read covers the last 20 days only"
    REREAD_LACKS_ROWS = "reread_lacks_rows", "a full read lacks some of the transactions: few, or half of them"
    REREAD_LACKS_ACCOUNT = "reread_lacks_account", "a full read lacks an account"
    REREAD_EMPTY = "reread_empty", "a full read has no record at all"
    ANCIENT_RECORD = "ancient_record", "a full read has a record besides that is dated 0001-01-01"

    # Accounts: each account, for some days at a time.
    VANISHING_ACCOUNT = "vanishing_account", "an account is not listed; it comes back"
    BAD_BALANCE = "bad_balance", "an account's balance is invalid money, such as two currencies at once"

    # Transactions: each transaction, or each merchant, always the same ones.
    LONG_HOLD = "long_hold", "a transaction is pending for 30 days"
    LATE_POSTING = "late_posting", "a transaction is posted days after its pending one was removed"
    CORRECTED = "corrected", "a posted transaction is modified once or twice"
    MOVED_ACCOUNT = "moved_account", "a posted transaction moves to another account of its item"
    RENAMED_MERCHANT = "renamed_merchant", "a merchant has another name every 15 days"
    HISTORICAL_CURRENCY = "historical_currency", "a transaction of before 2023 is in kuna"
    DUPLICATE = "duplicate", "a transaction is sent twice"
    REMOVAL_WITHOUT_ACCOUNT = "removal_without_account", "a removal does not name the account"
    REMOVAL_ELSEWHERE = "removal_elsewhere", "a removal names another account of the item"

    # Records: each version of a transaction, always the same ones.
    UNKNOWN_CURRENCY = "unknown_currency", "a currency code is in no list"
    HUGE_AMOUNT = "huge_amount", "an amount is larger than any account holds"
    NUL_NAME = "nul_name", "a name holds a NUL character"
    EMOJI_NAME = "emoji_name", "a name holds emoji of several code points"
    MISSING_FIELD = "missing_field", "a record names no account"
    WRONG_TYPE = "wrong_type", "an amount is an object"
    TINY_EXPONENT = "tiny_exponent", "an amount is 1e-999999999"
    AMOUNT_NOISE = "amount_noise", "an amount has binary noise, such as 4.220000000000001, or dozens of zeros"
    BAD_OPTIONAL_FIELD = "bad_optional_field", "an optional field is invalid: a time without zone, an empty text, …"
    INVALID_CORRECTION = "invalid_correction", "the modified version of a transaction is invalid"
    BAD_POSTING = "bad_posting", "the posted version of a pending transaction is invalid"


class FaultUnknown(ValueError):
    """There is no fault of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no fault {name!r}; choose from {', '.join(each.value for each in Fault)}")


class FaultRateInvalid(ValueError):
    """A rate is not between 0 and 1."""

    def __init__(self, name: str, rate: float) -> None:
        super().__init__(f"rate of {name} is {rate}; it must be 0 to 1")


class Faults:
    """The enabled faults, and the history on which further draws depend.

    `struck` counts how often each has struck so far.
    """

    def __init__(self, rates: Mapping[str, float] | None = None) -> None:
        self.struck: Counter[Fault] = Counter()
        self._rates: dict[Fault, float] = {}
        self._request_counts: Counter[tuple[int, str]] = Counter()
        self._mutated_loops: dict[int, EventOffset] = {}
        self._struck_items: set[tuple[Fault, int]] = set()
        self._restored_items: set[tuple[Fault, int]] = set()
        self.set_rates(rates or {})

    @property
    def rates(self) -> Mapping[str, float]:
        """Rate of each enabled fault, by name."""
        return {fault.value: rate for fault, rate in self._rates.items()}

    def set_rates(self, rates: Mapping[str, float]) -> None:
        """Enable these faults at these rates, disable all others, and count requests from 1 again.

        Raises
        ------
        FaultUnknown, FaultRateInvalid
            If a name or a rate is invalid; nothing changes then.
        """
        faults_by_name = {fault.value: fault for fault in Fault}
        for name, rate in rates.items():
            if name not in faults_by_name:
                raise FaultUnknown(name)
            if not 0 <= rate <= 1:
                raise FaultRateInvalid(name, rate)
        self._rates = {faults_by_name[name]: rate for name, rate in rates.items() if rate > 0}
        for history in (self._request_counts, self._mutated_loops, self._struck_items, self._restored_items):
            history.clear()

    def any_enabled(self, *faults: Fault) -> bool:
        """Return whether any of these faults is enabled."""
        return any(fault in self._rates for fault in faults)

    def strikes(self, key: Key, fault: Fault, subject: bytes) -> bool:
        """Return whether `fault` strikes what `subject` identifies: a request, item or record. Repeatable."""
        rate = self._rates.get(fault)
        if rate is None:
            return False
        draw = int.from_bytes(key.mac(HashDomain.FAULT, fault.value.encode() + b"\0" + subject, size=8))
        has_struck = draw < int(rate * 2**64)
        if has_struck:
            self.struck[fault] += 1
        return has_struck

    def choose(self, key: Key, fault: Fault, subject: bytes, *, count: int) -> int:
        """Return how `fault` strikes `subject`: one of `count` ways, numbered from 0. Repeatable."""
        return int.from_bytes(key.mac(HashDomain.FAULT, fault.value.encode() + b"\0way\0" + subject, size=8)) % count

    def count_request(self, item: int, path: str) -> bytes:
        """Count a request and return the bytes from which its faults are drawn; empty if no fault is enabled."""
        if not self._rates:
            return b""
        self._request_counts[item, path] += 1
        return pack(item, self._request_counts[item, path]) + path.encode()

    def strikes_not_ready(self, key: Key, item: int) -> bool:
        """Count a request and return whether it finds the item's transactions not ready."""
        return self.strikes(key, Fault.NOT_READY, self.count_request(item, Fault.NOT_READY.value))

    def strikes_mutation(self, key: Key, item: int, loop_start: EventOffset, cursor: str) -> bool:
        """Return whether the data changes before the page at `cursor`, in the loop that began at `loop_start`."""
        if self._mutated_loops.get(item) == loop_start or not self.strikes(
            key, Fault.MUTATION, pack(item) + cursor.encode()
        ):
            return False
        self._mutated_loops[item] = loop_start
        return True

    def strikes_item(self, key: Key, fault: Fault, item: int) -> bool:
        """Return whether `fault` makes the item unreadable."""
        is_struck = (fault, item) not in self._restored_items and self.strikes(key, fault, pack(item))
        if is_struck:
            self._struck_items.add((fault, item))
        return is_struck

    def restore_item(self, item: int) -> None:
        """End the faults that have made an item unreadable."""
        self._restored_items |= {
            (fault, struck_item) for fault, struck_item in self._struck_items if struck_item == item
        }
