"""Schedules: when an entity is synced or a notice is sent."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from croniter import CroniterError, croniter

from etl.declare.validation import require_identifier
from etl.errors import DeclarationError

_SAMPLE_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_FIELD_COUNT = 5


@dataclass(frozen=True)
class After:
    """A schedule that starts a run whenever an entity was loaded.

    Parameters
    ----------
    entity
        Name of the entity.
    """

    entity: str

    def __post_init__(self) -> None:
        require_identifier(f"After({self.entity!r})", "entity", self.entity)


def require_cron(where: str, field: str, expression: str) -> None:
    """Raise DeclarationError unless a value is a cron expression of five fields, or an alias, that matches a time."""
    detail = ""
    if not expression.startswith("@") and len(expression.split()) != _FIELD_COUNT:
        detail = f"it has {len(expression.split())} fields"
    else:
        try:
            croniter(expression, _SAMPLE_DAY).get_next()
        except CroniterError as error:
            detail = str(error)
    if detail:
        raise DeclarationError(
            f"{where}: {field} is {expression!r}, which is no cron expression: {detail}; "
            "write minute, hour, day of month, month and day of week, such as '0 6 * * *', or After(…)"
        )


def last_interval_start(expression: str, as_of: datetime) -> datetime:
    """Return the start of the last interval of a cron expression that has ended at `as_of`."""
    ticks = croniter(expression, as_of + timedelta(seconds=1), ret_type=datetime)
    ticks.get_prev()
    start: datetime = ticks.get_prev()
    return start
