"""What goes wrong on purpose: faults by name, each at a rate.

Whether a fault strikes is drawn from the seed and from what it would strike, so that the same requests in the same
order meet the same faults. A rate below 1 lets a retry succeed; a rate of 1 strikes always.
"""

from collections import Counter
from collections.abc import Mapping
from enum import Enum

from dev.bank.feed.feed import EventOffset
from dev.bank.world.seed import HashDomain, Key, pack


class Fault(Enum):
    """What may go wrong.

    `login_required` and `revoked` strike items, at the rate, until they are linked again. `mutation` strikes the later
    pages of a loop, and the same loop only once. Those from `duplicate` on strike single records, always the same ones.
    All others strike requests: an item's first, second and so on to an endpoint are drawn one by one.
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
    """A fault that the bank cannot have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no fault {name!r}; choose from {', '.join(each.value for each in Fault)}")


class FaultRateInvalid(ValueError):
    """A rate that is no share."""

    def __init__(self, name: str, rate: float) -> None:
        super().__init__(f"rate of {name} is {rate}; it must be 0 to 1")


class Faults:
    """The faults that are switched on, and what of the past decides the next draw."""

    def __init__(self, rates: Mapping[str, float] | None = None) -> None:
        self._rates: dict[Fault, float] = {}
        self._request_counts: Counter[tuple[int, str]] = Counter()
        self._mutated_loops: dict[int, EventOffset] = {}
        self._struck_items: set[tuple[Fault, int]] = set()
        self._restored_items: set[tuple[Fault, int]] = set()
        self.set_rates(rates or {})

    @property
    def rates(self) -> Mapping[str, float]:
        """Rate of each fault that is on, by name."""
        return {fault.value: rate for fault, rate in self._rates.items()}

    def set_rates(self, rates: Mapping[str, float]) -> None:
        """Switch on these faults at these rates, all others off, and count requests from the first again.

        Raises
        ------
        FaultUnknown, RateImpossible
            If one of them cannot be; nothing changes then.
        """
        known = {fault.value: fault for fault in Fault}
        for name, rate in rates.items():
            if name not in known:
                raise FaultUnknown(name)
            if not 0 <= rate <= 1:
                raise FaultRateInvalid(name, rate)
        self._rates = {known[name]: rate for name, rate in rates.items() if rate > 0}
        for memory in (self._request_counts, self._mutated_loops, self._struck_items, self._restored_items):
            memory.clear()

    def any_enabled(self, *faults: Fault) -> bool:
        """Return whether any of these is switched on."""
        return any(fault in self._rates for fault in faults)

    def strikes(self, key: Key, fault: Fault, subject: bytes) -> bool:
        """Return whether `fault` strikes the thing that `subject` names; always the same."""
        rate = self._rates.get(fault)
        if rate is None:
            return False
        return int.from_bytes(key.mac(HashDomain.FAULT, fault.value.encode() + b"\0" + subject, size=8)) < int(
            rate * 2**64
        )

    def count_request(self, item: int, path: str) -> bytes:
        """Count a request to an endpoint and return what its draws are about."""
        if not self._rates:
            return b""
        self._request_counts[item, path] += 1
        return pack(item, self._request_counts[item, path]) + path.encode()

    def strikes_not_ready(self, key: Key, item: int) -> bool:
        """Return whether the item's transactions are still being fetched, this time."""
        return self.strikes(key, Fault.NOT_READY, self.count_request(item, Fault.NOT_READY.value))

    def strikes_mutation(self, key: Key, item: int, loop_start: EventOffset, cursor: str) -> bool:
        """Return whether the data changes under a loop that began at `loop_start`, before its page at `cursor`."""
        if self._mutated_loops.get(item) == loop_start or not self.strikes(
            key, Fault.MUTATION, pack(item) + cursor.encode()
        ):
            return False
        self._mutated_loops[item] = loop_start
        return True

    def strikes_item(self, key: Key, fault: Fault, item: int) -> bool:
        """Return whether `fault` keeps the item from being read."""
        struck = (fault, item) not in self._restored_items and self.strikes(key, fault, pack(item))
        if struck:
            self._struck_items.add((fault, item))
        return struck

    def restore_item(self, item: int) -> None:
        """Let an item that was refused be read from now on."""
        self._restored_items |= {(fault, struck) for fault, struck in self._struck_items if struck == item}
