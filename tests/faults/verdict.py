"""What must be true after a run, whatever was killed meanwhile: from the ledger, and from what the mail server got."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg.rows import scalar_row

from etl.db.connection import Connection
from etl.notify.store import runs

FINAL_STATES = ("sent", "failed", "suppressed", "expired", "unknown")
_ROWS = """
select d.user_id, d.state::text as state, c.address
from notify.deliveries as d
inner join notify.contacts as c using (user_id, channel)
where d.run_id = %s
"""
_COUNT_INTERRUPTED = "select coalesce(sum(greatest(attempt - 1, 0)), 0)::int from notify.chunks where run_id = %s"
_MAX_UNKNOWN = """
select coalesce(max(n), 0)
from (
    select count(*) as n from notify.deliveries
    where run_id = %s and state = 'unknown'
    group by ordinal, attempt
) as pages
"""


@dataclass(frozen=True)
class RunVerdict:
    """How a run stands.

    Parameters
    ----------
    totals
        What its chunks counted.
    states
        What its ledger holds.
    mails
        That came for it.
    interrupted
        Tasks that ended before their chunk did.
    max_unknown
        Most deliveries of one attempt that are unknown.
    violations
        What is not as it must be; empty if all is well.
    """

    totals: dict[str, int]
    states: Counter[str]
    mails: int
    interrupted: int
    max_unknown: int
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return it as a line."""
        states = ", ".join(f"{count:,} {state}" for state, count in sorted(self.states.items()))
        return (
            f"{self.totals['recipients']:,} recipients: {states}, {self.totals['unreachable']:,} unreachable; "
            f"{self.mails:,} mails; {self.interrupted} tasks interrupted, at most {self.max_unknown} unknown of each"
        )


def verify_run(db: Connection, run_id: int, addresses: Sequence[str], *, page: int, killed: bool) -> RunVerdict:
    """Return how a finished run stands.

    Parameters
    ----------
    addresses
        Where each mail of the run went.
    page
        Most recipients of a page.
    killed
        Whether anything was killed; otherwise nothing may be unknown.
    """
    rows: list[tuple[int, str, str]] = db.execute(_ROWS.encode(), (run_id,)).fetchall()
    totals = runs.read_totals(db, run_id)
    with db.cursor(row_factory=scalar_row) as cursor:
        interrupted, largest = (
            int(number)
            for query in (_COUNT_INTERRUPTED, _MAX_UNKNOWN)
            for number in cursor.execute(query.encode(), (run_id,))
        )
    states = Counter(state for _, state, _ in rows)
    found = RunVerdict(totals, states, len(addresses), interrupted, largest)
    state_of = {address: state for _, state, address in rows}
    mails = Counter(addresses)
    rules = {
        "a recipient has two rows": len({user_id for user_id, *_ in rows}) == len(rows),
        "a delivery is in no final state": set(states) <= set(FINAL_STATES),
        "recipients are missing": len(rows) + totals["unreachable"] == totals["recipients"],
        "the chunks counted otherwise": all(totals[state] == states[state] for state in FINAL_STATES),
        "a chunk is not finished": totals["chunks"] == totals["chunks_finished"],
        "somebody got two mails": all(count == 1 for count in mails.values()),
        "somebody got a mail who is not `sent` or `unknown`": all(
            state_of.get(address) in ("sent", "unknown") for address in mails
        ),
        "somebody is `sent` who got no mail": all(mails[to] for to, state in state_of.items() if state == "sent"),
        "more than a page is unknown of a killed task": largest <= page and states["unknown"] <= page * interrupted,
        "somebody is unknown though nothing was killed": killed or not states["unknown"],
    }
    found.violations.extend(wrong for wrong, holds in rules.items() if not holds)
    return found
