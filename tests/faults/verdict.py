"""Rules that hold after any run, whatever was killed, checked on the ledger and on the mail server's record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from etl.db.connection import Connection
from etl.db.statements import Statement
from etl.notify.store import runs

FINAL_STATES = ("sent", "failed", "suppressed", "expired", "unknown")
_DELIVERIES = Statement("""
select d.user_id, d.state::text as state, c.address
from notify.deliveries as d
inner join notify.contacts as c using (user_id, channel)
where d.run_id = %(run_id)s
""")
_COUNT_INTERRUPTED = Statement(
    "select coalesce(sum(greatest(attempt - 1, 0)), 0)::int from notify.chunks where run_id = %(run_id)s"
)
_MAX_UNKNOWN = Statement("""
select coalesce(max(n), 0)
from (
    select count(*) as n from notify.deliveries
    where run_id = %(run_id)s and state = 'unknown'
    group by ordinal, attempt
) as pages
""")


@dataclass(frozen=True)
class RunVerdict:
    """Counts of a finished run, and the rules that it violates.

    Parameters
    ----------
    totals
        Totals of its chunks' counts.
    states
        State → deliveries in the ledger.
    mails
        Number of mails that arrived.
    interrupted
        Number of attempts that ended before their chunk was finished.
    max_unknown
        Largest number of `unknown` deliveries of one attempt.
    violations
        Violated rules; empty if every rule holds.
    """

    totals: dict[str, int]
    states: Counter[str]
    mails: int
    interrupted: int
    max_unknown: int
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the counts as a line of text."""
        states = ", ".join(f"{count:,} {state}" for state, count in sorted(self.states.items()))
        return (
            f"{self.totals['recipients']:,} recipients: {states}, {self.totals['unreachable']:,} unreachable; "
            f"{self.mails:,} mails; {self.interrupted} tasks interrupted, at most {self.max_unknown} unknown of each"
        )


def verify_run(db: Connection, run_id: int, addresses: Sequence[str], *, page: int, killed: bool) -> RunVerdict:
    """Check the rules on a finished run.

    Parameters
    ----------
    addresses
        Address of each mail of the run.
    page
        Recipients per page.
    killed
        Whether programs were killed; without kills no delivery may be `unknown`.
    """
    values = {"run_id": run_id}
    rows: list[tuple[int, str, str]] = _DELIVERIES.rows(db, values)
    totals = runs.read_totals(db, run_id)
    interrupted, max_unknown = _COUNT_INTERRUPTED.scalar(db, values), _MAX_UNKNOWN.scalar(db, values)
    states = Counter(state for _, state, _ in rows)
    verdict = RunVerdict(totals, states, len(addresses), interrupted, max_unknown)
    state_of = {address: state for _, state, address in rows}
    mails = Counter(addresses)
    rules = {
        "a recipient has two deliveries": len({user_id for user_id, *_ in rows}) == len(rows),
        "a delivery is in no final state": set(states) <= set(FINAL_STATES),
        "recipients are missing": len(rows) + totals["unreachable"] == totals["recipients"],
        "the totals of chunks differ from the ledger": all(totals[state] == states[state] for state in FINAL_STATES),
        "a chunk is not finished": totals["chunks"] == totals["chunks_finished"],
        "a recipient got two mails": all(count == 1 for count in mails.values()),
        "a recipient got a mail, but is neither `sent` nor `unknown`": all(
            state_of.get(address) in ("sent", "unknown") for address in mails
        ),
        "a recipient is `sent`, but got no mail": all(mails[to] for to, state in state_of.items() if state == "sent"),
        "more than a page of an interrupted task is `unknown`": max_unknown <= page
        and states["unknown"] <= page * interrupted,
        "a recipient is `unknown` without kills": killed or not states["unknown"],
    }
    verdict.violations.extend(violation for violation, holds in rules.items() if not holds)
    return verdict
