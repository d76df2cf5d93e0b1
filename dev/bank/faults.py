"""Faults that the bank injects, each at a rate.

Whether a fault strikes a request, an item or a record is derived from the seed and from its identity, so that the same
requests in the same order meet the same faults. A rate below 1 lets a retry succeed; a rate of 1 always strikes.
"""

from collections import Counter
from collections.abc import Mapping
from enum import Enum

from dev.bank.feed.feed import EventOffset
from dev.bank.world.seed import HashDomain, Key, pack


class Fault(Enum):
    """A fault that the bank can inject.

    `login_required` and `revoked` strike an item until it is linked again. `mutation` strikes pages after the first of
    a loop, at most once per loop. Those from `duplicate` on strike single records, always the same ones. All others
    strike requests: each request of an item to an endpoint is drawn separately.
    """

    SERVER_ERROR = "server_error"
    BAD_GATEWAY = "bad_gateway"
    NOT_JSON = "not_json"
    TIMEOUT = "timeout"
    SLOW = "slow"
    RATE_LIMIT = "rate_limit"
    RATE_LIMIT_RETRY_AFTER = "rate_limit_retry_after"
    TRUNCATED_BODY = "truncated_body"
    CONNECTION_RESET = "connection_reset"
    NOT_READY = "not_ready"
    MUTATION = "mutation"
    LOGIN_REQUIRED = "login_required"
    REVOKED = "revoked"
    DUPLICATE = "duplicate"
    UNKNOWN_CURRENCY = "unknown_currency"
    HUGE_AMOUNT = "huge_amount"
    NUL_NAME = "nul_name"
    EMOJI_NAME = "emoji_name"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"


class FaultUnknown(ValueError):
    """There is no fault of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no fault {name!r}; choose from {', '.join(each.value for each in Fault)}")


class FaultRateInvalid(ValueError):
    """A rate is not between 0 and 1."""

    def __init__(self, name: str, rate: float) -> None:
        super().__init__(f"rate of {name} is {rate}; it must be 0 to 1")


class Faults:
    """The enabled faults, and the history on which further draws depend."""

    def __init__(self, rates: Mapping[str, float] | None = None) -> None:
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
        return int.from_bytes(key.mac(HashDomain.FAULT, fault.value.encode() + b"\0" + subject, size=8)) < int(
            rate * 2**64
        )

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
