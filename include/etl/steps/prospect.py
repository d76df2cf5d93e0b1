"""A run of a notice as it is, if it was planned, or as it would be if it were planned now; nothing is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from etl.declare.notice import STATEMENTS, Notice
from etl.declare.notice_rules import ANNOUNCED
from etl.errors import PermanentError
from etl.stores import notice_runs
from etl.stores.notice_runs import NoticeRun, State
from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse

UNPLANNED = 0
"""The id of a run that was not planned."""

_NAMED = re.compile(r"%\((\w+)\)s")
_BOUNDS = {"after", "stop", "limit"}


class ParametersMissing(PermanentError):
    """The statements of a notice name more than every run has."""

    def __init__(self, notice: str, missing: list[str]) -> None:
        example = ", ".join(f'"{name}": …' for name in missing)
        super().__init__(
            f"{notice}: its statements need {', '.join(missing)}, which a run gets from whoever starts it; "
            f"give --parameters '{{{example}}}'."
        )


class NeverAnnounced(PermanentError):
    """Nothing has been announced by a key, so that nobody knows to whom it would be."""

    def __init__(self, notice: str, key: str) -> None:
        super().__init__(f"{notice}: nothing was announced under {key!r}; `python -m etl notify status` lists runs.")


def prospect(
    notice: Notice,
    period: str,
    *,
    as_of: datetime,
    warehouse: Warehouse,
    parameters: Mapping[str, object] | None = None,
) -> NoticeRun:
    """Return the run of a period: frozen if it was planned; else as it would be at `as_of`, and `UNPLANNED`.

    Parameters
    ----------
    parameters
        More values for the statements of the notice, in place of those that the run has.

    Raises
    ------
    NeverAnnounced
        If the period is that of an announcement which nobody made.
    ParametersMissing
        If the statements name what neither the run nor the caller gives.
    """
    planned = notice_runs.of_period(warehouse, notice, period)
    if planned is None and period.startswith(ANNOUNCED):
        raise NeverAnnounced(notice.name, period.removeprefix(ANNOUNCED))
    run = NoticeRun(
        run_id=planned.run_id if planned else UNPLANNED,
        notice_id=planned.notice_id if planned else 0,
        notice=notice.name,
        period=period,
        trigger=planned.trigger if planned else "",
        as_of=planned.as_of if planned else as_of,
        expires_at=planned.expires_at if planned else as_of + notice.expiry if notice.expiry else None,
        parameters={**(planned.parameters if planned else notice.parameters), **(parameters or {})},
        pace=planned.pace if planned else notice.pace,
        state=planned.state if planned else State.RUNNING.value,
        announced=planned.announced if planned else False,
    )
    texts = [statement(run.audience, name).as_string(None) for name in STATEMENTS]
    named = {name for text in texts for name in _NAMED.findall(text)}
    if missing := sorted(named - _BOUNDS - run.values.keys()):
        raise ParametersMissing(notice.name, missing)
    return run
