"""Survey: what is learnt of a typed batch while its blocks pass on their way to the warehouse.

A look at a block here, where it lies in columns, takes a fraction of what a statement takes that goes through its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.declare.entity import PROVIDER_ACCOUNT, Entity

MAX_KEYS_IN_MEMORY = 100_000
"""Keys of one provider account that are held to be compared with those of the next block."""
_POSITION = "#"
"""No column has this name."""


@dataclass
class DuplicateFilter:
    """What was learnt so far.

    Parameters
    ----------
    entity
        Whose records they are.
    rows
        Records that came.
    dropped_by_account
        Provider account → those of its records that did not pass, since a later one of the same block has their key.
    has_possible_duplicates
        Whether a key may have passed in two blocks.
    has_removals
        Whether any record tells that one is gone.
    earliest_observed_at
        When the first of them was observed.
    """

    entity: Entity
    rows: int = 0
    dropped_by_account: Counter[int] = field(default_factory=Counter)
    has_possible_duplicates: bool = False
    has_removals: bool = False
    earliest_observed_at: datetime | None = None

    def drop_duplicates(self, blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield blocks as they come, with only the last record of each key; an account's records stand together."""
        unfinished: pa.Table | None = None
        for block in blocks:
            self.rows += block.num_rows
            self.has_removals = self.has_removals or bool(pc.any(block["removed"]).as_py())
            earliest = pc.min(block["observed_at"]).as_py()
            self.earliest_observed_at = min(self.earliest_observed_at or earliest, earliest)
            last = self._keep_last(block)
            unfinished = (
                None if self.has_possible_duplicates else self._compare_with_previous(self._keys(last), unfinished)
            )
            yield last

    def _keep_last(self, block: pa.RecordBatch) -> pa.RecordBatch:
        """Return the last record of each key, and count the others."""
        if self.entity.feed_name and PROVIDER_ACCOUNT not in self.entity.key:
            # The cursor of the account that told of a key last may have moved on, and then another's record counts.
            self.has_possible_duplicates = True
            return block
        if pc.count_distinct(block[self.entity.key[-1]], mode="all").as_py() == block.num_rows:
            # Found soonest, and as a rule: where a part of the key never repeats, the key does not.
            return block
        keys = self._keys(block).append_column(_POSITION, pa.array(np.arange(block.num_rows)))
        grouped = keys.group_by(list(self.entity.key), use_threads=False).aggregate([(_POSITION, "max")])
        last = grouped[f"{_POSITION}_max"].combine_chunks().sort()
        if len(last) == block.num_rows:
            return block
        others = np.setdiff1d(np.arange(block.num_rows), last)
        self.dropped_by_account.update(block[PROVIDER_ACCOUNT].take(others).to_pylist())
        return block.take(last)

    def _compare_with_previous(self, keys: pa.Table, previous_keys: pa.Table | None) -> pa.Table:
        """Find out whether those before may have told of a block's keys, and return which the next one may repeat.

        Where accounts have keys of their own, that is what was told of the last account.
        """
        if PROVIDER_ACCOUNT not in self.entity.key:
            self.has_possible_duplicates = previous_keys is not None
            return keys.slice(0, 0)
        if previous_keys is not None:
            keys = pa.concat_tables([previous_keys, keys])
            told = _keys_of_account(previous_keys[PROVIDER_ACCOUNT][0], keys)
            distinct = told.group_by(list(self.entity.key), use_threads=False).aggregate([])
            self.has_possible_duplicates = len(distinct) < len(told) or len(told) > MAX_KEYS_IN_MEMORY
        return _keys_of_account(keys[PROVIDER_ACCOUNT][-1], keys)

    def _keys(self, block: pa.RecordBatch) -> pa.Table:
        return pa.Table.from_batches([block.select(list(self.entity.key))])


def _keys_of_account(account: pa.Scalar, keys: pa.Table) -> pa.Table:
    return keys.filter(pc.equal(keys[PROVIDER_ACCOUNT], account))
