"""Behaviours of single records: fields that change their type or vanish."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from etl.conform import edits, scratch, shape
from etl.conform.play import Play
from etl.conform.reel import Reel
from etl.conform.verdict import NotApplicable, Wrong
from etl.declare.column import Column
from etl.declare.source import Feed

Spoil = Callable[[edits.Record, Column], None]

_NO_VALUE: dict[str, Any] = {"conform": ["neither text nor number"]}
"""A value of a type that no column has."""


def changed_type(play: Play) -> str:
    """Send an object in place of a value that a row needs, in one record."""
    column = _rejecting(play)
    return _spoil_one(play, column, lambda record, each: shape.write_field(record, each, deepcopy(_NO_VALUE)))


def vanished_required(play: Play) -> str:
    """Leave out a required field, in one record."""
    column = next((each for each in _sent(play) if each.must_be_sent), None)
    if column is None:
        raise NotApplicable("no field outside the key is required")
    return _spoil_one(play, column, shape.drop_field)


def vanished_optional(play: Play) -> str:
    """Leave out an optional field, in one record."""
    used = {name for column in play.entity.columns for name in column.uses}
    optional = [each for each in _sent(play) if play.entity.may_drop(each) and each.stored and each.name not in used]
    column = next((each for each in optional if not each.has_substitute), None)
    if column is None:
        raise NotApplicable("no record has a field that is optional")
    spoiled, record = _spoiled(play, column, shape.drop_field)
    play.bank.reel = spoiled
    before = len(play.refer(play.original).rows[play.entity.name])
    play.run()
    play.require_neighbours()
    if len(scratch.rows_of(play.steps.db, play.entity)) != before:
        raise Wrong(f"a record without {'.'.join(column.path_parts)} was not loaded, although the column is optional")
    settled = play.settle(_mended(play, spoiled, record), like=play.original)
    return f"the record was loaded without {column.name}; its value came by {settled}"


def all_changed_type(play: Play) -> str:
    """Send an object in place of a value that a row needs, in all records of a login."""
    play.require_neighbour()
    column = _rejecting(play)
    play.steps.entity = replace(play.entity, always_tolerated=0)
    spoiled = play.original.copy()
    for record in edits.records(play.source, spoiled, play.victim):
        if shape.read_field(record, column) is not None:
            shape.write_field(record, column, deepcopy(_NO_VALUE))
    play.bank.reel = spoiled
    play.run()
    play.require_neighbours()
    if play.victim_id not in scratch.quarantined(play.steps.db, entity=play.entity.name):
        raise Wrong("all records of a login were rejected, and the login was not quarantined")
    return f"the login was quarantined, and its cursor stayed; all was loaded by {play.settle(play.original)}"


def _spoil_one(play: Play, column: Column, spoil: Spoil) -> str:
    spoiled, record = _spoiled(play, column, spoil)
    play.bank.reel = spoiled
    already = len(play.refer(play.original).rejects)
    play.run()
    play.require_neighbours()
    rejected = len(scratch.rejects_of(play.steps.db))
    if rejected <= already:
        raise Wrong(f"a record with a bad {'.'.join(column.path_parts)} was neither rejected nor held back")
    settled = play.settle(_mended(play, spoiled, record), like=play.original)
    return f"the record was rejected by {column.name}; it was loaded by {settled}"


def _spoiled(play: Play, column: Column, spoil: Spoil) -> tuple[Reel, edits.Record]:
    """Return a reel with a bad record, and the record as it was."""
    reel = play.original.copy()
    for record in edits.records(play.source, reel, play.victim):
        if shape.read_field(record, column) is not None:
            good = deepcopy(record)
            spoil(record, column)
            return reel, good
    raise NotApplicable("no record has such a field")


def _mended(play: Play, spoiled: Reel, record: edits.Record) -> Reel:
    """Return a reel in which the bank sends the record again as it was; a list simply has it."""
    if not isinstance(play.source, Feed):
        return play.original
    mended = spoiled.copy()
    edits.append_to_feed(play.source, mended, play.victim, play.source.upserts[-1], record)
    return mended


def _sent(play: Play) -> list[Column]:
    """Return the columns outside the key whose field some record of the victim has."""
    records = edits.records(play.source, play.original, play.victim)
    return [
        column
        for column in shape.own_columns(play.entity)
        if column.name not in play.entity.key
        and any(shape.read_field(record, column) is not None for record in records)
    ]


def _rejecting(play: Play) -> Column:
    """Return a column whose bad value rejects a record."""
    columns = [each for each in _sent(play) if not play.entity.may_drop(each) and each.otherwise is None]
    if not columns:
        raise NotApplicable("a bad value of any field outside the key is left out of the row")
    return columns[0]
