"""Removal of duplicate keys from the blocks of a typed batch before they are staged.

Checking for duplicates here, on Arrow columns, is far cheaper than an SQL statement over the staged rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.declare.entity import PROVIDER_ACCOUNT, Entity

MAX_KEYS_IN_MEMORY = 100_000
"""Keys that are held in memory, to be compared with those of the next block: those of one provider account, or, where
accounts share keys, whole records."""
_POSITION = "#"
"""Name of an added column; no declared column has it."""


@dataclass
class DuplicateFilter:
    """Drops duplicates from the blocks of one batch, and collects statistics of its records.

    Parameters
    ----------
    entity
        Whose records they are.
    rows
        Records read so far, duplicates included.
    dropped
        Records dropped, because a newer record of the same block has the same key.
    has_possible_duplicates
        Whether the yielded blocks may still hold a key twice.
    has_removals
        Whether any record is a removal.
    earliest_observed_at
        Earliest time at which a record was observed; None before the first block.
    """

    entity: Entity
    rows: int = 0
    dropped: int = 0
    has_possible_duplicates: bool = False
    has_removals: bool = False
    earliest_observed_at: datetime | None = None

    def drop_duplicates(self, blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the newest record of each key of each block; an account's records must be consecutive.

        Where accounts share keys, such as merchants, blocks are joined, since the same key is in most of them.
        """
        surveyed = map(self._survey, blocks)
        if PROVIDER_ACCOUNT not in self.entity.key:
            yield from self._join(surveyed)
            return
        open_keys: pa.Table | None = None
        for block in surveyed:
            newest = self._keep_newest(block)
            open_keys = (
                None if self.has_possible_duplicates else self._compare_with_previous(self._keys(newest), open_keys)
            )
            yield newest

    def _survey(self, block: pa.RecordBatch) -> pa.RecordBatch:
        """Return a block after its statistics are collected."""
        self.rows += block.num_rows
        self.has_removals = self.has_removals or bool(pc.any(block["removed"]).as_py())
        earliest = pc.min(block["observed_at"]).as_py()
        self.earliest_observed_at = min(self.earliest_observed_at or earliest, earliest)
        return block

    def _join(self, blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the newest record of each key of as many blocks as fit into memory."""
        joined: list[pa.RecordBatch] = []
        for block in blocks:
            joined.append(block)
            if sum(each.num_rows for each in joined) > MAX_KEYS_IN_MEMORY:
                joined = [self._keep_newest(pa.concat_batches(joined))]
                if joined[0].num_rows > MAX_KEYS_IN_MEMORY // 2:
                    self.has_possible_duplicates = True
                    yield joined.pop()
        if joined:
            yield self._keep_newest(pa.concat_batches(joined))

    def _keep_newest(self, block: pa.RecordBatch) -> pa.RecordBatch:
        """Return the newest record of each key, and count the others."""
        if pc.count_distinct(block[self.entity.key[-1]], mode="all").as_py() == block.num_rows:
            # Fast path, and the usual case: if the last key column has no duplicates, neither has the key.
            return block
        order = _by_age(block, self.entity)
        keys = self._keys(block).take(order).append_column(_POSITION, pa.array(np.arange(block.num_rows)))
        grouped = keys.group_by(list(self.entity.key), use_threads=False).aggregate([(_POSITION, "max")])
        newest = order.take(grouped[f"{_POSITION}_max"].combine_chunks()).sort()
        self.dropped += block.num_rows - len(newest)
        return block if len(newest) == block.num_rows else block.take(newest)

    def _compare_with_previous(self, keys: pa.Table, previous_keys: pa.Table | None) -> pa.Table:
        """Set `has_possible_duplicates` if earlier blocks may share keys, and return those of the last account."""
        if previous_keys is not None:
            keys = pa.concat_tables([previous_keys, keys])
            account_keys = _keys_of_account(previous_keys[PROVIDER_ACCOUNT][0], keys)
            distinct = account_keys.group_by(list(self.entity.key), use_threads=False).aggregate([])
            self.has_possible_duplicates = len(distinct) < len(account_keys) or len(account_keys) > MAX_KEYS_IN_MEMORY
        return _keys_of_account(keys[PROVIDER_ACCOUNT][-1], keys)

    def _keys(self, block: pa.RecordBatch) -> pa.Table:
        return pa.Table.from_batches([block.select(list(self.entity.key))])


def _by_age(block: pa.RecordBatch, entity: Entity) -> pa.Array:
    """Return the positions of a block's records, the oldest first; none is newer than its observation."""
    if entity.newest_by is None:
        return pa.array(np.arange(block.num_rows))
    sent = block[entity.newest_by]
    newest_by = pc.min_element_wise(sent, block["observed_at"].cast(sent.type), skip_nulls=False)
    columns = [newest_by.is_valid(), newest_by, block["observed_at"], block["seq"]]
    ages = pa.table(columns, names=list(map(str, range(len(columns)))))
    return pc.sort_indices(ages, sort_keys=[(name, "ascending") for name in ages.column_names])


def _keys_of_account(account: pa.Scalar, keys: pa.Table) -> pa.Table:
    return keys.filter(pc.equal(keys[PROVIDER_ACCOUNT], account))
