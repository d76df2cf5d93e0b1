"""Validates fields of declarations; an error names the declaration, the field, its value, and what to write instead."""

import re
from collections.abc import Sequence
from datetime import timedelta
from math import inf
from reprlib import repr as shortened

from etl.errors import DeclarationError

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""A name that needs no quotes in Postgres."""
FIELD_PATTERN = r"[A-Za-z_][\w-]*"
"""Pattern of a field name in a record or an envelope."""
FIELD = re.compile(FIELD_PATTERN)

_FIELD_PATH = re.compile(rf"{FIELD_PATTERN}(\.{FIELD_PATTERN})*")
_LIST_PATH = re.compile(rf"({FIELD_PATTERN}\.)*{FIELD_PATTERN}\[\](\.{FIELD_PATTERN}\[\])*")
_OBJECT_PATH = re.compile(rf"({FIELD_PATTERN}\.)*{FIELD_PATTERN}\{{\}}")
_LIST_OF_VALUES_PATH = re.compile(rf"{FIELD_PATTERN}(\[\])?(\.{FIELD_PATTERN}(\[\])?)*")


def require_type(where: str, field: str, value: object, *types: type) -> None:
    """Raise DeclarationError unless a value has one of the given types; a bool does not count as an int."""
    if isinstance(value, types) and (bool in types or not isinstance(value, bool)):
        return
    names = " or ".join("None" if item is type(None) else item.__name__ for item in types)
    article = "an" if names[0] in "aeiouAEIOU" else "a"
    raise DeclarationError(f"{where}: {field} is {shortened(value)} ({type(value).__name__}); write {article} {names}")


def require_tuple(where: str, field: str, values: object, item_type: type, *, minimum: int = 0) -> None:
    """Raise DeclarationError unless the value is a tuple of at least `minimum` values of a type."""
    if not isinstance(values, tuple):
        detail = f"{shortened(values)} ({type(values).__name__})"
        raise DeclarationError(f"{where}: {field} is {detail}; write a tuple, with a comma even after a single value")
    if len(values) < minimum:
        raise DeclarationError(f"{where}: {field} is empty; write at least {minimum} {item_type.__name__}")
    for value in values:
        require_type(where, f"one of its {field}", value, item_type)


def require_distinct(where: str, field: str, names: Sequence[str]) -> None:
    """Raise DeclarationError if a name stands twice in a list of names."""
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{where}: {field} names {name!r} twice; remove one")


def require_identifier(where: str, field: str, value: object) -> None:
    """Raise DeclarationError unless a value is a lower-case SQL identifier."""
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise DeclarationError(
            f"{where}: {field} is {value!r}; write lower-case letters, digits and _, a letter first, at most 63"
        )


def require_count(where: str, field: str, value: object, *, minimum: int, maximum: int | None = None) -> None:
    """Raise DeclarationError unless a value is an integer between two bounds, both inclusive."""
    require_type(where, field, value, int)
    if not isinstance(value, int) or value < minimum or (maximum is not None and value > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise DeclarationError(f"{where}: {field} is {value}; it must be {bounds}")


def require_pace(where: str, field: str, value: object) -> None:
    """Raise DeclarationError unless a value is a positive, finite number of messages per second."""
    require_type(where, field, value, int, float)
    if not isinstance(value, int | float) or not 0 < value < inf:
        raise DeclarationError(
            f"{where}: {field} is {value} messages per second; it must be above 0, such as 0.5 for one in two seconds"
        )


def require_share(where: str, field: str, value: object) -> None:
    """Raise DeclarationError unless a value is a number from 0 to 1."""
    require_type(where, field, value, int, float)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DeclarationError(f"{where}: {field} is {value}; it must be from 0 to 1, such as 0.2 for a fifth")


def require_duration(where: str, field: str, value: object) -> None:
    """Raise DeclarationError unless a value is a positive timedelta."""
    require_type(where, field, value, timedelta)
    if not isinstance(value, timedelta) or value <= timedelta():
        raise DeclarationError(f"{where}: {field} is {value}; it must be longer than 0")


def require_list_paths(where: str, field: str, paths: object) -> None:
    """Raise DeclarationError if one of the paths leads to no list, such as `added` instead of `added[]`.

    Names without brackets may only stand before the first list: `data.added[].parts[]`.
    """
    require_tuple(where, field, paths, str)
    for path in paths if isinstance(paths, tuple) else ():
        if not _LIST_PATH.fullmatch(path):
            outer, bracket, _ = path.partition("[]")
            prefix = f"{outer.rpartition('.')[0]}." if bracket and "." in outer else ""
            fixed = prefix + ".".join(f"{name.removesuffix('[]')}[]" for name in path.removeprefix(prefix).split("."))
            remedy = f"write {fixed!r}" if _LIST_PATH.fullmatch(fixed) else "write names of lists, such as 'added[]'"
            raise DeclarationError(f"{where}: {field} has {path!r}, which names no list; {remedy}")


def require_record_paths(where: str, field: str, paths: object) -> None:
    """Raise DeclarationError if one of the paths leads neither to a list, `added[]`, nor to a single record, `item{}`.

    A page has one record or lists of records, not both.
    """
    if not isinstance(paths, tuple) or not any(isinstance(path, str) and path.endswith("{}") for path in paths):
        require_list_paths(where, field, paths)
    elif len(paths) > 1:
        raise DeclarationError(
            f"{where}: {field} has a single record and {len(paths) - 1} more paths; leave it alone, or name lists only"
        )
    elif not _OBJECT_PATH.fullmatch(paths[0]):
        raise DeclarationError(f"{where}: {field} has {paths[0]!r}, which names no record; write such as 'account{{}}'")


def require_field_path(where: str, field: str, path: object) -> None:
    """Raise DeclarationError unless a value is a dotted path of a field, such as `pagination.next`."""
    require_type(where, field, path, str)
    if not isinstance(path, str) or not _FIELD_PATH.fullmatch(path):
        raise DeclarationError(
            f"{where}: {field} is {path!r}; write the names that lead to the field, such as 'pagination.next'"
        )


def require_values_path(where: str, field: str, path: object) -> None:
    """Raise DeclarationError unless a value is a dotted path of a field or of all items of lists: `errors[].code`."""
    require_type(where, field, path, str)
    if not isinstance(path, str) or not _LIST_OF_VALUES_PATH.fullmatch(path):
        raise DeclarationError(
            f"{where}: {field} is {path!r}; write the names that lead to the field, such as 'error.code' or "
            "'errors[].code'"
        )
