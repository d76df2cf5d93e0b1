"""The faults that histories have, and how often."""

from __future__ import annotations

from dev.bank.faults import Fault

LEDGER_FAULTS: dict[Fault, float] = {
    Fault.RETURNING_CURSOR: 0.5,
    Fault.BGN_ACCOUNTS: 0.3,
    Fault.LARGE_LOGIN: 0.1,
    Fault.OLD_LOAN: 0.5,
    Fault.VANISHING_ACCOUNT: 0.5,
    Fault.BAD_BALANCE: 0.3,
    Fault.SPOILED_LOGIN: 0.2,
    Fault.NULL_CHANNEL: 0.4,
    Fault.LONG_HOLD: 0.2,
    Fault.LATE_POSTING: 0.3,
    Fault.CORRECTED: 0.4,
    Fault.MOVED_ACCOUNT: 0.2,
    Fault.RENAMED_MERCHANT: 0.5,
    Fault.HISTORICAL_CURRENCY: 0.2,
    Fault.DUPLICATE: 0.05,
    Fault.REMOVAL_WITHOUT_ACCOUNT: 0.3,
    Fault.REMOVAL_ELSEWHERE: 0.3,
    Fault.UNKNOWN_CURRENCY: 0.01,
    Fault.HUGE_AMOUNT: 0.02,
    Fault.NUL_NAME: 0.02,
    Fault.EMOJI_NAME: 0.05,
    Fault.MISSING_FIELD: 0.01,
    Fault.WRONG_TYPE: 0.01,
    Fault.TINY_EXPONENT: 0.02,
    Fault.AMOUNT_NOISE: 0.1,
    Fault.BAD_OPTIONAL_FIELD: 0.1,
    Fault.INVALID_CORRECTION: 0.4,
    Fault.BAD_POSTING: 0.1,
}
"""Faults of what the bank holds → highest rate; they last for a whole history."""

DELIVERY_FAULTS: dict[Fault, float] = {
    Fault.SERVER_ERROR: 0.1,
    Fault.BAD_GATEWAY: 0.1,
    Fault.NOT_JSON: 0.1,
    Fault.RATE_LIMIT: 0.1,
    Fault.RATE_LIMIT_RETRY_AFTER: 0.1,
    Fault.TRUNCATED_BODY: 0.1,
    Fault.CONNECTION_RESET: 0.1,
    Fault.NOT_READY: 0.2,
    Fault.MUTATION: 0.4,
    Fault.LOST_CURSOR: 0.4,
    Fault.EMPTY_RECORDS: 0.03,
    Fault.OVERSIZED_PAGE: 0.3,
    Fault.WINDOW_SHIFT: 0.8,
    Fault.WRONG_ENVIRONMENT: 0.5,
    Fault.LOGIN_REPAIRED: 0.2,
    Fault.LOGIN_REQUIRED: 0.2,
    Fault.REVOKED: 0.2,
    Fault.SHORT_HISTORY: 0.7,
    Fault.REREAD_LACKS_ROWS: 0.5,
    Fault.REREAD_LACKS_ACCOUNT: 0.5,
    Fault.REREAD_EMPTY: 0.2,
    Fault.ANCIENT_RECORD: 0.9,
}
"""Faults of what the bank answers → highest rate; they change during a history, and stop before its end.

Timeouts, slow responses and long waits are left out, since a history would mostly wait; `test_injected_faults` and
`test_waits` have them.
"""

LEADS_IN_ONE_OF = 7
"""A fault leads in one of so many histories: there it is always on, at its highest rate."""

ALL_FAULTS = frozenset((*LEDGER_FAULTS, *DELIVERY_FAULTS, Fault.LINKED_AGAIN))
"""Every fault that must strike in a run of histories."""


def leading_faults(seed: int) -> set[Fault]:
    """Return the faults that lead in the history of a seed."""
    return {
        fault
        for highest_rates in (LEDGER_FAULTS, DELIVERY_FAULTS)
        for fault in list(highest_rates)[seed % LEADS_IN_ONE_OF :: LEADS_IN_ONE_OF]
    }
