-- name: expired_batches
-- Batches past their retention. Whoever reads their source has loaded them, in whatever version: a new version types anew
-- what is kept, and keeps nothing for longer. One that nobody has loaded is never old enough.
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
order by r.raw_id
limit %(limit)s;

-- name: mark_purged
-- The rows first, the objects after: what is interrupted leaves objects without a row, and they are found. A batch that is
-- being loaded or replayed waits for the next time. Only a replay reads clock corrections, and there is none any more.
with batches as (
    select r.raw_id
    from etl.raw_batches as r
    where r.raw_id = any(%(raw_ids)s) and r.purged_at is null
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
-- Batches that are past their retention and kept all the same.
select count(*)::int as batches
from etl.raw_batches as r
where r.purged_at is null and r.sealed_at < %(before)s;

-- name: unreferenced_objects
-- Objects that no batch names, save those of some batches; several batches may name one.
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
-- Typed batches that are not loaded yet, by their place in the list.
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
-- Of batches that are loaded, or gone; those of a batch that is not loaded are counted when it is.
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
        exists (
            select 1
            from etl.loads as l
            where l.raw_id = r.raw_id and l.entity = r.entity and l.version >= r.version
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
-- A page of them.
delete from etl.rejects as r
where r.reject_id = any(%(second)s);

-- name: replays
-- What was replayed stays in the core tables; this only tells of it.
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
-- A page of them.
delete from etl.replays as r
where r.replay_id = any(%(second)s);

-- name: left_out
-- For as long as there is a batch to replay it counts who is not in it: a stale account must be stale again, and one that
-- a snapshot left out is told of by an earlier one.
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
-- A page of them.
delete from etl.left_out as l
using unnest(%(first)s::bigint[], %(second)s::int[], %(third)s::bigint[]) as k (chunk_id, attempt, provider_account_id)
where
    l.chunk_id = k.chunk_id
    and l.attempt = k.attempt
    and l.provider_account_id = k.provider_account_id;

-- name: chunks
-- A chunk that a batch came from stays with its row.
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
order by c.chunk_id
limit %(limit)s;

-- name: remove_chunks
-- A page of them.
delete from etl.chunks as c
where c.chunk_id = any(%(first)s);

-- name: purge_run_chunks
-- Runs that ended long ago. Without its chunks nothing of a run can be sent again, so that they go before the first of its deliveries;
-- the run itself stays for good, and its period is never planned twice. One that is opened again meanwhile is waited for, and passed over.
with ended as materialized (
    select r.run_id
    from notify.runs as r
    where
        r.run_id > %(after)s
        and r.state in ('done', 'cancelled')
        and r.ended_at < %(before)s
        and exists (
            select 1
            from notify.chunks as c
            where c.run_id = r.run_id
        )
    order by r.run_id
    limit %(limit)s
    for update
),
deleted_chunks as (
    delete from notify.chunks as c
    using ended as e
    where c.run_id = e.run_id and not %(dry_run)s
),
cleared_announcements as (
    -- The row stays: without it, its run would be one for everybody.
    update notify.announcements as a
    set
        users = '{}',
        said = '{}'
    from ended as e
    where a.run_id = e.run_id and not %(dry_run)s
),
run_chunks as (
    select c.run_id, count(*) as chunks
    from notify.chunks as c
    inner join ended as e using (run_id)
    group by c.run_id
)
select max(h.run_id) as last, coalesce(sum(h.chunks), 0)::bigint as chunks
from run_chunks as h;

-- name: next_delivery_page
-- A stretch of the ledger by its key, which rises with time, so that the oldest lie first; no index tells whose run they are.
select max(p.delivery_id) as last, min(p.claimed_at) as earliest
from (
    select d.delivery_id, d.claimed_at
    from notify.deliveries as d
    where d.delivery_id > %(after)s
    order by d.delivery_id
    limit %(limit)s
) as p;

-- name: purge_deliveries
-- What of a stretch belongs to runs that ended long ago. A run that has chunks may still be sent, and would tell everybody again.
delete from notify.deliveries as d
using notify.runs as r
where
    d.delivery_id > %(after)s
    and d.delivery_id <= %(last)s
    and r.run_id = d.run_id
    and r.state in ('done', 'cancelled')
    and r.ended_at < %(before)s
    and not exists (
        select 1
        from notify.chunks as c
        where c.run_id = r.run_id
    );

-- name: count_expired_deliveries
-- What `purge_deliveries` would remove, once the chunks are gone.
select count(*) as deliveries
from notify.deliveries as d
inner join notify.runs as r using (run_id)
where
    d.delivery_id > %(after)s
    and d.delivery_id <= %(last)s
    and r.state in ('done', 'cancelled')
    and r.ended_at < %(before)s;

-- name: unfinished_runs
-- Runs that were planned long ago and never ended, whose deliveries are kept.
select r.run_id
from notify.runs as r
where r.state not in ('done', 'cancelled') and r.planned_at < %(before)s
order by r.run_id;
