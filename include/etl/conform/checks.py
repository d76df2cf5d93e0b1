"""Checks of a recording against its declaration: what the pages have and nothing reads, keys, and the end of lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from etl.conform import shape
from etl.conform.reel import Reel
from etl.conform.verdict import NotApplicable, Wrong
from etl.declare.api.paging import Flag, LinkHeader, NextLink, OnePage, Total, TotalPages
from etl.declare.entity import Entity, RawOf
from etl.declare.provider import Provider
from etl.declare.source import Feed, Listing, Source
from etl.sync.provider.failures import values_at

_MAX_NAMES = 12
"""Fields of a page that are named at most."""


def explain_shape(source: Source, document: object) -> str:
    """Return which declared path a page does not have, and what it has there; empty if it has all."""
    for field, path, kinds in _declared_fields(source):
        found = values_at(document, path)
        if not found or not isinstance(found[0], kinds):
            kind = type(found[0]).__name__ if found else "nothing"
            return f"{field} names {path!r}, where the pages have {kind}; they have {_names(document, path)}"
    return ""


def check_lists(entities: Sequence[Entity], source: Source, reel: Reel) -> str:
    """Check that no list of records is left unread.

    Raises
    ------
    Wrong
        If one has records with the key of an entity, or a feed has one that is always empty.
    """
    unread = unread_lists(entities, source, reel)
    with_key = sorted(path for path, has_key in unread.items() if has_key)
    empty = sorted(path for path, has_key in unread.items() if has_key is None)
    if with_key:
        raise Wrong(f"the pages have a list {with_key[0]} of records with the same key, and no path reads it")
    if empty and isinstance(source, Feed):
        raise Wrong(
            f"the pages have a list {empty[0]} beside the declared ones that was always empty, and no path reads "
            "it; if the provider sends changes there, they are lost"
        )
    return "every list that may hold records is read" + (f"; {empty[0]} was always empty" if empty else "")


def unread_lists(entities: Sequence[Entity], source: Source, reel: Reel) -> dict[str, bool | None]:
    """Return the lists beside those of a source that nothing reads → whether their records have the key of an entity.

    None where a list was always empty, so that nobody knows.
    """
    read = {path.removesuffix("[]") for entity in entities for path in _read_paths(entity)}
    read |= {rule.field.removesuffix("[]").partition("[]")[0] for each in entities for rule in each.provider.errors}
    found: dict[str, bool | None] = {}
    for document in reel.documents:
        for path, records in _sibling_lists(source, document):
            if path.removesuffix("[]") in read:
                continue
            keys = [shape.plain_key(entity, each) for entity in entities for each in records if isinstance(each, dict)]
            if records:
                found[path] = bool(found.get(path)) or any(key is not None for key in keys)
            else:
                found.setdefault(path, None)
    return found


def check_key(entity: Entity, source: Source, reel: Reel) -> str:
    """Check that two records of a list never have the same key.

    Raises
    ------
    Wrong
        If they have, although they differ.
    NotApplicable
        If the key is not in the fields of a record.
    """
    keys, clashes = 0, 0
    for pages in reel.logins:
        for path in source.upserts:
            seen: dict[tuple[object, ...], Any] = {}
            for page in pages:
                if isinstance(source, Feed):
                    seen = {}  # a later page may have a later version
                for record in (each for records in shape.lists_at(page.document, path) for each in records):
                    key = shape.plain_key(entity, record)
                    if key is not None:
                        keys += 1
                        clashes += seen.setdefault(key, record) != record
    names = ", ".join(entity.key)
    if clashes:
        raise Wrong(
            f"{clashes} of {keys} records have the key ({names}) of another record, and would be one row with it"
        )
    if not keys:
        raise NotApplicable("its key is not in fields of the record itself, or it has no record")
    return f"each of {keys} records has a key ({names}) of its own"


def check_end(source: Source, reel: Reel) -> str:
    """Check that nothing follows the declared end.

    Raises
    ------
    Wrong
        If more records came.
    NotApplicable
        If that cannot be asked.
    """
    if isinstance(source, Listing) and isinstance(source.paging, OnePage | NextLink | LinkHeader):
        raise NotApplicable(
            "its requests do not say which page they ask for, so that nothing behind the end can be asked"
        )
    if reel.goes_on:
        remedy = "see `more` of the feed" if isinstance(source, Feed) else "see `end` of its `paging`"
        raise Wrong(f"the page behind the last one has {reel.goes_on} more records, which are never read", remedy)
    return "nothing follows the last page"


def signs_unknown(provider: Provider) -> str:
    """Return what no answer can show."""
    return (
        f"no answer shows whether {provider.name} means money out by a positive amount, or which records it means as "
        "pending; compare a few rows with the statement of the bank, and see `sign` and `fill`"
    )


def _read_paths(entity: Entity) -> list[str]:
    if isinstance(entity.source, RawOf):
        return []
    sources = filter(None, (entity.source, entity.window))
    return [path for source in sources for path in (*source.upserts, *source.removals)]


def _sibling_lists(source: Source, document: object) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists of a page that are fields of the same objects as the declared ones."""
    for parent in dict.fromkeys(path.removesuffix("[]").rpartition(".")[0] for path in source.upserts):
        for holder in values_at(document, parent) if parent else [document]:
            if isinstance(holder, dict):
                for name, value in holder.items():
                    if isinstance(value, list):
                        yield f"{parent}.{name}[]" if parent else f"{name}[]", value


def _declared_fields(source: Source) -> Iterator[tuple[str, str, type | tuple[type, ...]]]:
    """Yield the fields of a declaration that name a path which each page must have, with the type that it has there."""
    for path in (*source.upserts, *source.removals):
        if path not in source.optional and path.count("[]") == 1 and path.endswith("[]"):
            yield "deletes" if path in source.removals else "upserts", path.removesuffix("[]"), list
    if isinstance(source, Feed):
        yield "cursor", source.cursor, str
    end = source.end if isinstance(source, Feed) else source.paging.end if isinstance(source, Listing) else None
    match end:
        case Flag(path):
            yield "more" if isinstance(source, Feed) else "paging: end", path, bool
        case Total(path) | TotalPages(path):
            yield "paging: end", path, int


def _names(document: object, path: str) -> str:
    """Return the names of the fields at the place to which a path leads."""
    parent = path.rpartition(".")[0]
    holders = values_at(document, parent) if parent else [document]
    holder = holders[0] if holders and isinstance(holders[0], dict) else document
    if not isinstance(holder, dict):
        return f"no object, but {type(holder).__name__}"
    names = list(holder)
    return ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")
