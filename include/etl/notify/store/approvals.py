"""Approvals: runs of so many recipients that a person must agree before they are sent."""

from __future__ import annotations

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.declare.notice import Notice
from etl.notify.store.runs import NoticeRun, RunState

_SQL = StatementFile("notify/approvals")
_REASON_PREFIX = "waits for approval"


def request_if_needed(db: Connection, notice: Notice, run: NoticeRun, *, recipients: int) -> None:
    """Hold a run of more recipients than may be sent without approval."""
    if notice.needs_approval(recipients):
        reason = f"{_REASON_PREFIX}, since it has {recipients:,} recipients"
        _SQL["request"].run(db, {"run_id": run.run_id, "reason": reason})


def is_awaited(run: NoticeRun) -> bool:
    """Return whether a run waits for approval."""
    return run.state == RunState.HELD.value and run.reason.startswith(_REASON_PREFIX)


def approve(db: Connection, run_id: int) -> bool:
    """Let a run be sent; return False if it does not wait for approval any more."""
    return bool(_SQL["approve"].run(db, {"run_id": run_id, "prefix": _REASON_PREFIX}))


def reject(db: Connection, run_id: int) -> bool:
    """Cancel a run of which nothing was begun, whatever it waits for by now; return False if it was, or has ended."""
    return bool(_SQL["reject"].run(db, {"run_id": run_id}))
