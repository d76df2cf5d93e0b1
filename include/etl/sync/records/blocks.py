"""Blocks of records: pages are added one by one, and their values converted into Arrow types."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from etl.declare.entity import Column, Entity
from etl.sync.records.columns import ARROW_TYPES, PageColumns
from etl.sync.records.conversions import Twins
from etl.sync.records.decoder import DecodedPage
from etl.sync.records.faults import FieldWarning, RecordFault, describe_value
from etl.sync.records.structs import values_by_field


@dataclass(frozen=True)
class RecordGroup:
    """The upserts, or the deletes, of one page.

    Parameters
    ----------
    columns
        Their values in each declared column.
    is_removal
        Whether they are deletes.
    line, provider_account_id, received_at
        Of their page.
    record_count
        Number of records.
    """

    columns: Sequence[pa.Array]
    is_removal: bool
    line: int
    provider_account_id: int
    received_at: datetime
    record_count: int


@dataclass
class Block:
    """Records of some pages, in Arrow types, on which the hook and the checks will run together.

    A page is converted as soon as it is added, while its records are still in the processor's cache.

    Parameters
    ----------
    entity
        Whose records they are.
    first_seq
        Sequence number of the first record.
    twins
        Numbers records without an id, over all blocks of a batch.
    """

    entity: Entity
    first_seq: int = 0
    twins: Twins = field(default_factory=Twins)
    record_paths: list[str] = field(default_factory=list)
    groups: list[RecordGroup] = field(default_factory=list)
    group_ends: list[int] = field(default_factory=list)
    faults: dict[int, RecordFault] = field(default_factory=dict)
    warnings: defaultdict[int, list[FieldWarning]] = field(default_factory=lambda: defaultdict(list))

    def __len__(self) -> int:
        """Return how many records it holds."""
        return len(self.record_paths)

    def add(
        self, page: DecodedPage, *, provider_account_id: int, line: int, received_at: datetime, item_id: str = ""
    ) -> None:
        """Append the records of a page: upserts first, then deletes, which have values in key columns only."""
        for records, is_removal in ((page.upserts, False), (page.deletes, True)):
            if records:
                first_row = len(self.record_paths)
                self.record_paths.extend(records.paths)
                for index, warnings in records.warnings.items():
                    self.warnings[first_row + index] += warnings
                page_columns = PageColumns(
                    self.entity,
                    [values_by_field(level) for level in records.levels],
                    records.lists,
                    provider_account_id,
                    item_id,
                    self.twins,
                    lambda index, *details, row=first_row: self._refuse(row + index, *details),
                    lambda index, *details, row=first_row: self.warn(row + index, *details),
                )
                columns = [
                    page_columns.array(column)
                    if not is_removal or column.name in self.entity.key
                    else pa.nulls(len(records), ARROW_TYPES[column.kind])
                    for column in self.entity.columns
                ]
                self.groups.append(
                    RecordGroup(columns, is_removal, line, provider_account_id, received_at, len(records))
                )
                self.group_ends.append(len(self.record_paths))

    def field_path(self, row: int, column: Column) -> str:
        """Return the path of a field in its page, such as `added[3].amount`."""
        parts = self.record_paths[row].split(".")
        return ".".join((*parts[: len(parts) - column.levels_up], *column.path_parts))

    def warn(self, row: int, column: Column, rule: str, value: object) -> None:
        """Record that a field is null or rounded; only the first warning of a field counts."""
        path = self.field_path(row, column)
        if all(warning.path != path for warning in self.warnings[row]):
            self.warnings[row].append(FieldWarning(path, rule, describe_value(value)))

    def group_of(self, row: int) -> RecordGroup:
        """Return the group that a row is in."""
        return self.groups[bisect_right(self.group_ends, row)]

    def _refuse(self, row: int, column: Column, rule: str, reason: str, value: object) -> None:
        """Record that a value is bad: it costs only itself if the entity may drop it, and else its row."""
        if self.entity.may_drop(column):
            self.warn(row, column, rule, value)
        else:
            fault = RecordFault(self.field_path(row, column), rule, f"{describe_value(value)}: {reason}")
            self.faults.setdefault(row, fault)
