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

MOST_HELD = 100_000
"""Keys of one provider account that are held to be compared with those of the next block."""
_PLACE = "#"
"""No column has this name."""


@dataclass
class Survey:
    """What was learnt so far.

    Parameters
    ----------
    entity
        Whose records they are.
    rows
        Records that came.
    repeated
        Provider account → those of its records that did not pass, since a later one of the same block has their key.
    may_repeat
        Whether a key may have passed in two blocks.
    removes
        Whether any record tells that one is gone.
    earliest
        When the first of them was observed.
    """

    entity: Entity
    rows: int = 0
    repeated: Counter[int] = field(default_factory=Counter)
    may_repeat: bool = False
    removes: bool = False
    earliest: datetime | None = None

    def passing(self, blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield blocks as they come, with only the last record of each key; an account's records stand together."""
        unfinished: pa.Table | None = None
        for block in blocks:
            self.rows += block.num_rows
            self.removes = self.removes or bool(pc.any(block["removed"]).as_py())
            earliest = pc.min(block["observed_at"]).as_py()
            self.earliest = min(self.earliest or earliest, earliest)
            last = self._last(block)
            unfinished = None if self.may_repeat else self._compared(self._keys(last), unfinished)
            yield last

    def _last(self, block: pa.RecordBatch) -> pa.RecordBatch:
        """Return the last record of each key, and count the others."""
        if self.entity.feed and PROVIDER_ACCOUNT not in self.entity.key:
            # The cursor of the account that told of a key last may have moved on, and then another's record counts.
            self.may_repeat = True
            return block
        if pc.count_distinct(block[self.entity.key[-1]], mode="all").as_py() == block.num_rows:
            # Found soonest, and as a rule: where a part of the key never repeats, the key does not.
            return block
        keys = self._keys(block).append_column(_PLACE, pa.array(np.arange(block.num_rows)))
        grouped = keys.group_by(list(self.entity.key), use_threads=False).aggregate([(_PLACE, "max")])
        last = grouped[f"{_PLACE}_max"].combine_chunks().sort()
        if len(last) == block.num_rows:
            return block
        others = np.setdiff1d(np.arange(block.num_rows), last)
        self.repeated.update(block[PROVIDER_ACCOUNT].take(others).to_pylist())
        return block.take(last)

    def _compared(self, keys: pa.Table, unfinished: pa.Table | None) -> pa.Table:
        """Find out whether those before may have told of a block's keys, and return which the next one may repeat.

        Where accounts have keys of their own, that is what was told of the last account.
        """
        if PROVIDER_ACCOUNT not in self.entity.key:
            self.may_repeat = unfinished is not None
            return keys.slice(0, 0)
        if unfinished is not None:
            keys = pa.concat_tables([unfinished, keys])
            told = _of(unfinished[PROVIDER_ACCOUNT][0], keys)
            distinct = told.group_by(list(self.entity.key), use_threads=False).aggregate([])
            self.may_repeat = len(distinct) < len(told) or len(told) > MOST_HELD
        return _of(keys[PROVIDER_ACCOUNT][-1], keys)

    def _keys(self, block: pa.RecordBatch) -> pa.Table:
        return pa.Table.from_batches([block.select(list(self.entity.key))])


def _of(account: pa.Scalar, keys: pa.Table) -> pa.Table:
    return keys.filter(pc.equal(keys[PROVIDER_ACCOUNT], account))
