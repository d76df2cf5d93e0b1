"""What each run planned: its chunks, their attempts, and what became of them."""

from dataclasses import dataclass

from psycopg.rows import class_row, dict_row, scalar_row
from psycopg.types.json import Jsonb

from etl.chunks import Chunk, count_chunks
from etl.errors import ChunkMissing
from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse


@dataclass(frozen=True)
class PlannedChunk:
    """A chunk of a run, with its latest download attempt.

    Parameters
    ----------
    chunk_id
        Its surrogate id.
    start, stop
        Its half-open bounds, in provider account ids.
    page_size
        Records to ask for in one page.
    attempt
        1-based; 0 before the first download.
    """

    chunk_id: int
    start: int
    stop: int
    page_size: int
    attempt: int

    @property
    def bounds(self) -> Chunk:
        """The bounds as a chunk."""
        return Chunk(self.start, self.stop)


def cut(
    warehouse: Warehouse, *, entity: str, run_id: str, provider: str, page_size: int, size: int, maximum: int
) -> list[int]:
    """Cut the active provider accounts into the chunks of a run; cutting again replaces the earlier plan.

    Parameters
    ----------
    page_size
        Records to ask for in one page.
    size
        Accounts in a chunk.
    maximum
        Most chunks.

    Returns
    -------
    list of int
        The ordinals of the chunks, from 0.
    """
    run = {"entity": entity, "run_id": run_id, "provider": provider, "page_size": page_size}
    with warehouse.transaction(), warehouse.cursor(row_factory=scalar_row) as cursor:
        (rows,) = cursor.execute(statement("stores/plans", "count"), run).fetchall()
        chunks = count_chunks(rows, size=size, maximum=maximum)
        ordinals: list[int] = []
        if chunks:
            ordinals = cursor.execute(statement("stores/plans", "cut"), {**run, "chunks": chunks}).fetchall()
        cursor.execute(statement("stores/plans", "withdraw"), {**run, "chunks": len(ordinals)})
    return sorted(ordinals)


def open_attempt(warehouse: Warehouse, *, entity: str, run_id: str, ordinal: int) -> PlannedChunk:
    """Start the next download attempt of a chunk.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _chunk(warehouse, "open_attempt", entity, run_id, ordinal)


def find(warehouse: Warehouse, *, entity: str, run_id: str, ordinal: int) -> PlannedChunk:
    """Return a chunk with its latest attempt.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _chunk(warehouse, "find", entity, run_id, ordinal)


def close_attempt(warehouse: Warehouse, chunk: PlannedChunk, outcome: dict[str, int]) -> None:
    """Record what came of the accounts of a chunk: how many for each outcome."""
    warehouse.execute(
        statement("stores/plans", "close_attempt"),
        {"chunk_id": chunk.chunk_id, "attempt": chunk.attempt, "outcome": Jsonb(outcome)},
    )


def totals(warehouse: Warehouse, *, entity: str, run_id: str, version: int) -> dict[str, int]:
    """Return what a run loaded so far.

    Returns
    -------
    dict
        `chunks`, `chunks_loaded`, the counts of `loads.Counts`, and provider accounts as `accounts_<outcome>`.
    """
    run = {"entity": entity, "run_id": run_id, "version": version}
    with warehouse.cursor(row_factory=dict_row) as cursor:
        (sums,) = cursor.execute(statement("stores/plans", "totals"), run).fetchall()
        outcomes = cursor.execute(statement("stores/plans", "outcomes"), run).fetchall()
    return {**sums, **{f"accounts_{row['outcome']}": row["accounts"] for row in outcomes}}


def _chunk(warehouse: Warehouse, name: str, entity: str, run_id: str, ordinal: int) -> PlannedChunk:
    values = {"entity": entity, "run_id": run_id, "ordinal": ordinal}
    with warehouse.cursor(row_factory=class_row(PlannedChunk)) as cursor:
        chunk = cursor.execute(statement("stores/plans", name), values).fetchone()
    if chunk is None:
        raise ChunkMissing(entity, run_id, ordinal)
    return chunk
