"""When an entity is synced, or a notice sent."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from croniter import CroniterError, croniter

from etl.declare.validation import require_identifier
from etl.errors import DeclarationError

_SAMPLE_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_FIELD_COUNT = 5


@dataclass(frozen=True)
class After:
    """Runs whenever an entity was loaded.

    Parameters
    ----------
    entity
        Its name.
    """

    entity: str

    def __post_init__(self) -> None:
        require_identifier(f"After({self.entity!r})", "entity", self.entity)


def require_cron(where: str, field: str, expression: str) -> None:
    """Refuse what is no cron expression of five fields, or names a moment that never comes."""
    found = ""
    if not expression.startswith("@") and len(expression.split()) != _FIELD_COUNT:
        found = f"it has {len(expression.split())} fields"
    else:
        try:
            croniter(expression, _SAMPLE_DAY).get_next()
        except CroniterError as error:
            found = str(error)
    if found:
        raise DeclarationError(
            f"{where}: {field} is {expression!r}, which is no cron expression: {found}; "
            "write minute, hour, day of month, month and day of week, such as '0 6 * * *', or After(…)"
        )


def last_interval_start(expression: str, as_of: datetime) -> datetime:
    """Return the beginning of the last interval of a cron expression that is over at an instant."""
    moments = croniter(expression, as_of + timedelta(seconds=1), ret_type=datetime)
    moments.get_prev()
    beginning: datetime = moments.get_prev()
    return beginning
