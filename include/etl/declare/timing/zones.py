"""Time zones, by their names in the IANA database."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo

from etl.errors import DeclarationError

_MAX_NAME_LENGTH = 64
"""The longest name of the IANA database has 38 characters."""


@lru_cache(maxsize=1_024)
def find_zone(name: str | None) -> ZoneInfo | None:
    """Return a time zone of the IANA database; None if there is none of this name."""
    if not name or len(name) > _MAX_NAME_LENGTH or not name.isprintable():
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # OSError: the name of a folder, such as `America`
        return None


def require_zone(where: str, field: str, name: object) -> None:
    """Raise DeclarationError unless a value is the name of a time zone."""
    if not isinstance(name, str) or find_zone(name) is None:
        raise DeclarationError(
            f"{where}: {field} is {name!r}; write a name of the IANA database, such as Europe/Vienna"
        )
