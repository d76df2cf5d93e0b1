"""Fields of a response beside its records: each must be in a place of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from etl.errors import DeclarationError


def require_own_places(where: str, fields: Mapping[str, str], lists: Iterable[str]) -> None:
    """Refuse paths of which one would be a value and something else at once.

    Parameters
    ----------
    fields
        Name of what is read, such as `cursor` → its path.
    lists
        Paths of the records, such as `transactions.booked`, or `account{}`.
    """
    places_of_records = [path.removesuffix("{}") for path in lists]
    for name, path in fields.items():
        for taken in places_of_records:
            if _is_within(path, taken) or _is_within(taken, path):
                raise DeclarationError(
                    f"{where}: {name} is {path!r}, but {taken!r} holds the records; write the path of a field beside it"
                )
    places = list(fields.items())
    for index, (name, path) in enumerate(places):
        for other, taken in places[:index]:
            if _is_within(path, taken) or _is_within(taken, path):
                raise DeclarationError(
                    f"{where}: {other} is {taken!r}, and {name} is {path!r}, but one field cannot be both; fix a path"
                )


def require_separate_lists(where: str, paths: Iterable[str]) -> None:
    """Refuse a list of records that is named twice, whose records would be read twice, or that is an object as well."""
    seen: list[str] = []
    for path in paths:
        if path in seen:
            raise DeclarationError(f"{where}: the list {path!r} is named twice; remove one")
        for other in seen:
            shorter, longer = sorted((path, other), key=len)
            if longer.startswith(f"{shorter.removesuffix('[]')}."):
                raise DeclarationError(
                    f"{where}: {shorter!r} is a list, and cannot hold {longer!r}; fix one of the paths"
                )
        seen.append(path)


def _is_within(path: str, outer: str) -> bool:
    """Return whether a path is that of another one, or leads further from it."""
    return f"{path}.".startswith(f"{outer}.")
