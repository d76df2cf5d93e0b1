"""The task that waits for a person before a big run of a notice is sent.

Only Dags of notices that declare `approval_above` import this module. While it waits, the task holds no slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator  # noqa: TID253 - see above

import sluice_connections as connections
from sluice_notice_tasks import RUN_ID_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from etl.declare.notice import Notice


class NoticeApproval(ApprovalOperator):
    """Asks whether a run may be sent, and cancels it if not; a run that needs no approval passes at once.

    Parameters
    ----------
    notice
        What is sent.
    """

    def __init__(self, *, notice: Notice, **arguments: Any) -> None:  # noqa: ANN401 - as Airflow declares them
        from etl.notify.review.approval import max_wait

        super().__init__(
            subject=f"Send {notice.name}?",
            defaults=self.REJECT,
            response_timeout=max_wait(notice),
            **arguments,
        )
        self._notice = notice

    def execute(self, context: Context) -> None:
        """Ask, unless there is nothing to approve."""
        from etl.notify.review.approval import find_request

        run_id = self._run_id(context)
        if run_id is None:
            return
        with connections.warehouse() as db:
            request = find_request(self._notice, run_id, db=db)
        if request is not None:
            self.subject, self.body = request.subject, request.body
            super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Release or cancel the run, and skip the sending of a cancelled one."""
        from etl.notify.store import approvals

        run_id = self._run_id(context)
        decide = approvals.approve if event.get("chosen_options") == [self.APPROVE] else approvals.reject
        if run_id is not None:
            with connections.warehouse() as db:
                decide(db, run_id)
        super().execute_complete(context, event)

    def _run_id(self, context: Context) -> int | None:
        run_id: int | None = context["ti"].xcom_pull(task_ids="plan", key=RUN_ID_KEY)
        return run_id
