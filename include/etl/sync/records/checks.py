"""Checks of the rows of a block: a value that fails is rounded, dropped, or costs its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from etl.currency import decimals_by_code
from etl.declare.check import Check, MaxLength, MinorUnits
from etl.declare.entity import ColumnType, Entity
from etl.sync.records import money
from etl.sync.records.blocks import Block
from etl.sync.records.faults import RecordFault


def run_checks(block: Block, table: pa.Table, frame: pd.DataFrame) -> pa.Table:
    """Return a table without the values that fail; the block records these, and the rows that are rejected.

    Parameters
    ----------
    table, frame
        The rows of the block, in both forms.
    """
    return _CheckedRows(block, table, frame).run()


class _CheckedRows:
    """The rows of a block, while the checks of its entity run on them one after the other."""

    def __init__(self, block: Block, table: pa.Table, frame: pd.DataFrame) -> None:
        self._block = block
        self._table = table
        self._columns = {column.name: column for column in block.entity.columns}
        removed = frame["removed"].astype("bool")
        self._upserts = frame[~removed] if removed.any() else frame

    def run(self) -> pa.Table:
        for check in (*_length_checks(self._block.entity), *self._block.entity.checks):
            passes = check.passes(self._upserts).to_numpy(dtype="bool")
            if not passes.all():
                self._settle(check, self._upserts.index[~passes].to_list())
        return self._table

    def _settle(self, check: Check, rows: Sequence[int]) -> None:
        """Decide what a check costs the rows that fail it: some noise, the value in its first column, or the row."""
        column = self._columns[check.columns[0]]
        changes: dict[int, Decimal | None] = {}
        for row in rows:
            values: dict[str, Any] = {name: self._upserts.at[row, name] for name in check.columns}
            value, rounded = values[column.name], _without_noise(check, values)
            if rounded is not None:
                self._block.warn(row, column, money.NOISE_RULE, value)
                changes[row] = rounded
            elif self._block.entity.may_drop(column) and not pd.isna(value):
                self._block.warn(row, column, check.rule, value)
                changes[row] = None
            else:
                found = ", ".join(f"{name} {str(each)[:100]!r}" for name, each in values.items())
                path = self._block.field_path(row, column)
                self._block.faults.setdefault(row, RecordFault(path, check.rule, f"found {found}"))
        if changes:
            self._change(column.name, changes)

    def _change(self, name: str, changes: Mapping[int, Decimal | None]) -> None:
        """Set the values of a column in some rows, for the table and for the checks that follow."""
        is_changed = np.zeros(self._table.num_rows, dtype=bool)
        is_changed[list(changes)] = True
        index = self._table.schema.get_field_index(name)
        values = self._table[name].combine_chunks()
        replacements = pa.array([changes[row] for row in sorted(changes)], values.type)
        changed = pc.replace_with_mask(values, pa.array(is_changed), replacements)
        self._table = self._table.set_column(index, self._table.schema.field(index), changed)
        series = pd.Series(pd.arrays.ArrowExtensionArray(changed))
        self._upserts = self._upserts.assign(**{name: series.loc[self._upserts.index]})


def _length_checks(entity: Entity) -> list[MaxLength]:
    return [MaxLength(each.name, each.max_length) for each in entity.columns if each.kind is ColumnType.TEXT]


def _without_noise(check: Check, values: Mapping[str, Any]) -> Decimal | None:
    """Return an amount that fails `MinorUnits` without its noise; None for other checks, and if there is more to it."""
    if not isinstance(check, MinorUnits):
        return None
    rounded, rule = money.fit(values[check.amount], decimals_by_code()[values[check.currency]])
    return rounded if rule == money.NOISE_RULE else None
