"""What a field of a declaration may hold; a refusal says where, which field, what was found and what to write."""

import re
from datetime import timedelta
from math import inf
from reprlib import repr as shortened

from etl.errors import DeclarationError

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""A name that Postgres takes without quotes."""
FIELD_PATTERN = r"[A-Za-z_]\w*"
"""Name of a field in a record, as a pattern."""

_LIST_PATH = re.compile(rf"{FIELD_PATTERN}\[\](\.{FIELD_PATTERN}\[\])*")


def require_type(where: str, field: str, value: object, *types: type) -> None:
    """Refuse a value of another type than those given; a truth value is no number."""
    if isinstance(value, types) and (bool in types or not isinstance(value, bool)):
        return
    wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in types)
    article = "an" if wanted[0] in "aeiouAEIOU" else "a"
    raise DeclarationError(f"{where}: {field} is {shortened(value)} ({type(value).__name__}); write {article} {wanted}")


def require_tuple(where: str, field: str, values: object, item_type: type, *, minimum: int = 0) -> None:
    """Refuse anything but a tuple of at least so many values of a type."""
    if not isinstance(values, tuple):
        found = f"{shortened(values)} ({type(values).__name__})"
        raise DeclarationError(f"{where}: {field} is {found}; write a tuple, with a comma even after a single value")
    if len(values) < minimum:
        raise DeclarationError(f"{where}: {field} is empty; write at least {minimum} {item_type.__name__}")
    for value in values:
        require_type(where, f"one of its {field}", value, item_type)


def require_identifier(where: str, field: str, value: object) -> None:
    """Refuse what is no lower-case SQL identifier."""
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise DeclarationError(
            f"{where}: {field} is {value!r}; write lower-case letters, digits and _, a letter first, at most 63"
        )


def require_count(where: str, field: str, value: object, *, minimum: int, maximum: int | None = None) -> None:
    """Refuse anything but an integer between two bounds."""
    require_type(where, field, value, int)
    if not isinstance(value, int) or value < minimum or (maximum is not None and value > maximum):
        wanted = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise DeclarationError(f"{where}: {field} is {value}; it must be {wanted}")


def require_pace(where: str, field: str, value: object) -> None:
    """Refuse anything but a positive, finite number of messages a second."""
    require_type(where, field, value, int, float)
    if not isinstance(value, int | float) or not 0 < value < inf:
        raise DeclarationError(
            f"{where}: {field} is {value} messages a second; it must be above 0, and 0.5 is one in two seconds"
        )


def require_duration(where: str, field: str, value: object) -> None:
    """Refuse anything but a time that passes."""
    require_type(where, field, value, timedelta)
    if not isinstance(value, timedelta) or value <= timedelta():
        raise DeclarationError(f"{where}: {field} is {value}; it must be longer than nothing")


def require_list_paths(where: str, field: str, paths: object) -> None:
    """Refuse paths in a page whose names are not all lists, such as `added` for `added[]`."""
    require_tuple(where, field, paths, str)
    for place in paths if isinstance(paths, tuple) else ():
        if not _LIST_PATH.fullmatch(place):
            mended = ".".join(f"{name.removesuffix('[]')}[]" for name in place.split("."))
            remedy = f"write {mended!r}" if _LIST_PATH.fullmatch(mended) else "write names of lists, such as 'added[]'"
            raise DeclarationError(f"{where}: {field} has {place!r}, which names no list; {remedy}")
