-- name: expired_batches
-- Batches past their retention that every entity which reads their source has loaded, in any version: a new version of an
-- entity types the batches that still exist once more, but extends the retention of none. A batch that no entity has loaded is
-- never purged, nor is one that somebody still has to look into.
select r.raw_id, r.path
from etl.raw_batches as r
where
    r.raw_id > %(after)s
    and r.purged_at is null
    and r.sealed_at < %(before)s
    and exists (
        select 1
        from etl.loads as l
        where l.raw_id = r.raw_id
    )
    and not exists (
        select 1
        from unnest(%(sources)s::text[], %(entities)s::text[]) as e (source, entity)
        where
            e.source = r.source
            and not exists (
                select 1
                from etl.loads as l
                where l.raw_id = r.raw_id and l.entity = e.entity
            )
    )
    and not exists (
        {in_use}
    )
order by r.raw_id
limit %(limit)s;

-- name: in_use
-- What keeps a raw batch at any age, since only its pages can settle it: a record that is rejected until a later one of it
-- loads, a login whose part of the batch waits for being accepted, rows whose end waits for a decision.
select 1
from etl.rejects as j
where j.raw_id = r.raw_id and j.closed_at is null
union all
select 1
from etl.quarantines as q
where q.raw_id = r.raw_id
union all
select 1
from etl.reconciliations as c
where c.raw_id = r.raw_id and c.state = 'pending';

-- name: mark_purged
-- Rows are marked before objects are removed: an interrupted purge leaves objects without a row, which a later one finds. A
-- batch that is being loaded or replayed is locked, and is skipped until the next purge; so is one that came into use since
-- it was found. Clock corrections are read by
-- replays only, and a purged batch cannot be replayed.
with batches as (
    select r.raw_id
    from etl.raw_batches as r
    where
        r.raw_id = any(%(raw_ids)s)
        and r.purged_at is null
        and not exists (
            {in_use}
        )
    order by r.raw_id
    for update skip locked
),
deleted_corrections as (
    delete from etl.clock_corrections as c
    using batches as d
    where c.raw_id = d.raw_id
)
update etl.raw_batches as r set purged_at = now()
from batches as d
where r.raw_id = d.raw_id
returning r.raw_id, r.path;

-- name: kept_batches
-- Number of batches that are past their retention but not purged.
select count(*)::int as batches
from etl.raw_batches as r
where r.purged_at is null and r.sealed_at < %(before)s;

-- name: unreferenced_objects
-- Objects that no batch names, apart from some excepted batches; several batches may name one object.
select p.path
from unnest(%(paths)s::text[], %(hashes)s::text[]) as p (path, content_hash)
where
    not exists (
        select 1
        from etl.raw_batches as r
        where
            r.content_hash = p.content_hash
            and r.path = p.path
            and r.purged_at is null
            and r.raw_id <> all(%(except_raw_ids)s)
    );

-- name: unloaded_typed_batches
-- Typed batches that are not loaded yet, by their 1-based position in the list.
select t.ordinal::int
from unnest(%(entities)s::text[], %(versions)s::int[], %(hashes)s::text[]) with ordinality
    as t (entity, version, content_hash, ordinal)
where
    exists (
        select 1
        from etl.raw_batches as r
        where
            r.content_hash = t.content_hash
            and r.purged_at is null
            and not exists (
                select 1
                from etl.loads as l
                where l.raw_id = r.raw_id and l.entity = t.entity and l.version >= t.version
            )
    );

-- name: rejects
-- Closed rejects of batches that are loaded, and all of purged batches, whose records are gone. Those of a batch that is not
-- loaded yet stay.
select r.raw_id, r.reject_id
from etl.rejects as r
where
    (r.raw_id, r.reject_id) > (%(first)s, %(second)s)
    and r.raw_id < coalesce(
        (
            select min(b.raw_id)
            from etl.raw_batches as b
            where b.sealed_at >= %(before)s
        ),
        9223372036854775807
    )
    and r.rejected_at < %(before)s
    and (
        (
            r.closed_at < %(before)s
            and exists (
                select 1
                from etl.loads as l
                where l.raw_id = r.raw_id and l.entity = r.entity and l.version >= r.version
            )
        )
        or exists (
            select 1
            from etl.raw_batches as b
            where b.raw_id = r.raw_id and b.purged_at is not null
        )
    )
order by r.raw_id, r.reject_id
limit %(limit)s;

-- name: remove_rejects
-- Remove one page of rejects.
delete from etl.rejects as r
where r.reject_id = any(%(second)s);

-- name: field_warnings
-- Warnings of fields that a batch was loaded without, as old as the rejects that are removed. The digest stands for the texts of
-- the key.
select w.raw_id, w.provider_account_id, w.digest
from (
    select
        f.raw_id,
        f.provider_account_id,
        hashtextextended(concat_ws(E'\x1f', f.entity, f.version, f.path, f.rule), 0) as digest
    from etl.field_warnings as f
    where
        f.raw_id >= %(first)s
        and f.raw_id < coalesce(
            (
                select min(b.raw_id)
                from etl.raw_batches as b
                where b.sealed_at >= %(before)s
            ),
            9223372036854775807
        )
        and f.warned_at < %(before)s
) as w
where (w.raw_id, w.provider_account_id, w.digest) > (%(first)s, %(second)s, %(third)s)
order by w.raw_id, w.provider_account_id, w.digest
limit %(limit)s;

-- name: remove_field_warnings
-- Remove one page of field warnings.
delete from etl.field_warnings as f
using unnest(%(first)s::bigint[], %(second)s::bigint[], %(third)s::bigint[]) as k (raw_id, provider_account_id, digest)
where
    f.raw_id = k.raw_id
    and f.provider_account_id = k.provider_account_id
    and hashtextextended(concat_ws(E'\x1f', f.entity, f.version, f.path, f.rule), 0) = k.digest;

-- name: reconciliations
-- Reconciliations that wait for nobody, of batches that are gone. A revoked one stays: it is why the rows that a person brought
-- back are not ended by a later read without being asked for. The digest stands for the entity of the key.
select c.raw_id, c.provider_account_id, c.digest
from (
    select r.raw_id, r.provider_account_id, hashtextextended(r.entity, 0) as digest
    from etl.reconciliations as r
    inner join etl.raw_batches as b using (raw_id)
    where
        r.raw_id >= %(first)s
        and r.state in ('applied', 'approved')
        and greatest(r.reconciled_at, r.decided_at) < %(before)s
        and b.purged_at is not null
) as c
where (c.raw_id, c.provider_account_id, c.digest) > (%(first)s, %(second)s, %(third)s)
order by c.raw_id, c.provider_account_id, c.digest
limit %(limit)s;

-- name: remove_reconciliations
-- Remove one page of reconciliations, with what they would need to bring back their rows.
with expired as (
    select r.raw_id, r.entity, r.provider_account_id
    from etl.reconciliations as r
    inner join unnest(%(first)s::bigint[], %(second)s::bigint[], %(third)s::bigint[]) as k (raw_id, provider_account_id, digest)
        on
            r.raw_id = k.raw_id
            and r.provider_account_id = k.provider_account_id
            and hashtextextended(r.entity, 0) = k.digest
),
deleted_rows as (
    delete from etl.ended_rows as e
    using expired as x
    where e.raw_id = x.raw_id and e.entity = x.entity and e.provider_account_id = x.provider_account_id
)
delete from etl.reconciliations as r
using expired as x
where r.raw_id = x.raw_id and r.entity = x.entity and r.provider_account_id = x.provider_account_id;

-- name: replays
-- Records of replays; the replayed rows stay in the core tables.
select r.raw_id, r.replay_id
from etl.replays as r
where
    (r.raw_id, r.replay_id) > (%(first)s, %(second)s)
    and r.raw_id < coalesce(
        (
            select min(b.raw_id)
            from etl.raw_batches as b
            where b.sealed_at >= %(before)s
        ),
        9223372036854775807
    )
    and r.replayed_at < %(before)s
order by r.raw_id, r.replay_id
limit %(limit)s;

-- name: remove_replays
-- Remove one page of replays.
delete from etl.replays as r
where r.replay_id = any(%(second)s);

-- name: left_out
-- Skipped accounts of attempts whose batch is gone. While it can be replayed, they are needed: an account that was stale in
-- it must be stale again, and an account that a snapshot skipped still has its rows from an earlier snapshot.
select l.chunk_id, l.attempt, l.provider_account_id
from etl.left_out as l
where
    (l.chunk_id, l.attempt, l.provider_account_id) > (%(first)s, %(second)s, %(third)s)
    and l.chunk_id < coalesce(
        (
            select min(c.chunk_id)
            from etl.chunks as c
            where c.planned_at >= %(before)s
        ),
        9223372036854775807
    )
    and l.left_out_at < %(before)s
    and not exists (
        select 1
        from etl.raw_batches as b
        where b.chunk_id = l.chunk_id and b.attempt = l.attempt and b.purged_at is null
    )
order by l.chunk_id, l.attempt, l.provider_account_id
limit %(limit)s;

-- name: remove_left_out
-- Remove one page of skipped accounts.
delete from etl.left_out as l
using unnest(%(first)s::bigint[], %(second)s::int[], %(third)s::bigint[]) as k (chunk_id, attempt, provider_account_id)
where
    l.chunk_id = k.chunk_id
    and l.attempt = k.attempt
    and l.provider_account_id = k.provider_account_id;

-- name: gaps
-- Attempts, each with a login, whose responses lacked records, and whose batch is gone. While it can be replayed, they are
-- needed, as skipped accounts are.
select distinct g.chunk_id, g.attempt, g.provider_account_id
from etl.gaps as g
where
    (g.chunk_id, g.attempt, g.provider_account_id) > (%(first)s, %(second)s, %(third)s)
    and g.found_at < %(before)s
    and not exists (
        select 1
        from etl.raw_batches as b
        where b.chunk_id = g.chunk_id and b.attempt = g.attempt and b.purged_at is null
    )
order by g.chunk_id, g.attempt, g.provider_account_id
limit %(limit)s;

-- name: remove_gaps
-- Remove the gaps of one page of attempts.
delete from etl.gaps as g
using unnest(%(first)s::bigint[], %(second)s::int[], %(third)s::bigint[]) as k (chunk_id, attempt, provider_account_id)
where
    g.chunk_id = k.chunk_id
    and g.attempt = k.attempt
    and g.provider_account_id = k.provider_account_id;

-- name: chunks
-- Chunks without a raw batch, skipped accounts, gaps and unfinished downloads; the row of a batch, which is kept for good, keeps its
-- chunk.
select c.chunk_id
from etl.chunks as c
where
    c.chunk_id > %(first)s
    and c.planned_at < %(before)s
    and not exists (
        select 1
        from etl.raw_batches as b
        where b.chunk_id = c.chunk_id
    )
    and not exists (
        select 1
        from etl.left_out as l
        where l.chunk_id = c.chunk_id
    )
    and not exists (
        select 1
        from etl.gaps as g
        where g.chunk_id = c.chunk_id
    )
    and not exists (
        select 1
        from etl.unfinished_downloads as u
        where u.chunk_id = c.chunk_id
    )
order by c.chunk_id
limit %(limit)s;

-- name: remove_chunks
-- Remove one page of chunks.
delete from etl.chunks as c
where c.chunk_id = any(%(first)s);
