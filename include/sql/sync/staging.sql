-- name: drop_table
-- A transaction that merges several batches stages them one after the other.
drop table if exists pg_temp.incoming;

-- name: raise_work_mem
-- To sort, hash or materialize a batch of 150,000 rows takes 60 MB; a merge does so three times at most.
-- The setting lasts until the transaction ends, and never lowers the server's own.
select set_config('work_mem', '64MB', true)
where pg_size_bytes(current_setting('work_mem')) < pg_size_bytes('64MB');

-- name: raise_temp_buffers
-- A batch of 200,000 rows takes 64 MB and is read about eight times. Postgres allocates only what it needs, and allows
-- this setting only before a session's first temporary table.
select set_config('temp_buffers', '64MB', true)
where pg_size_bytes(current_setting('temp_buffers')) < pg_size_bytes('64MB') and pg_my_temp_schema() = 0;

-- name: prefer_index_lookup
-- Force index look-ups: the planner may choose a sequential scan while the table is small, and another merge may fill
-- it in the meantime. JIT is off, since a disabled scan inflates the estimated cost, which would trigger compilation.
select set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true);

-- name: prefer_hash_join
-- Force hash joins: the planner may choose a nested loop while the table is empty, and another merge may fill it in the
-- meantime. Until the transaction ends, hashing may use no more memory than sorting.
select set_config('enable_nestloop', 'off', true), set_config('hash_mem_multiplier', '1', true);

-- name: reset_index_lookup
-- Back to the server's setting.
set local enable_seqscan to default;

-- name: reset_hash_join
-- Back to the server's setting.
set local enable_nestloop to default;

-- name: lower_statistics_target
-- A sample of 3,000 rows estimates the numbers of rows and accounts as well as one of 30,000.
set local default_statistics_target = 10;

-- name: reset_statistics_target
-- Back to the server's setting.
set local default_statistics_target to default;

-- name: drop_older_than_feed
-- A window has the state of the time at which it was read. Where the feed brought a later observation, the window's
-- records are outdated, and a row that only the window has no longer exists.
delete from incoming as i
using etl.cursors as c
where
    c.provider_account_id = i.provider_account_id
    and c.provider_account_id = any(array(select o.provider_account_id from incoming_cursors as o))
    and c.feed = %(feed)s
    and c.told_at > i.observed_at;

-- name: later_snapshots
-- Of some logins, when the latest loaded snapshot of theirs was sealed that may have been read later than this one: what a
-- batch holds was read before it was sealed, so that those which were sealed before this one was opened were read earlier.
-- A login is in a snapshot if its pages are, and if the load did not leave it out: not every login of a chunk is asked.
-- Of batches of before their logins were stored, all between the bounds count.
-- Batches are found by when they were sealed, and what belongs to each by its id: `offset 0` keeps the planner from
-- reading all chunks of years, or all loads, instead.
with later as materialized (
    select k.raw_id, k.sealed_at, k.chunk_id, k.attempt, k.provider_account_ids, c.start, c.stop
    from (
        select b.source, coalesce(b.opened_at, '-infinity') as opened_at, o.start, o.stop
        from etl.raw_batches as b
        inner join etl.chunks as o on o.chunk_id = b.chunk_id
        where b.raw_id = %(raw_id)s
        offset 0
    ) as this
    cross join lateral (
        select b.raw_id, b.sealed_at, b.chunk_id, b.attempt, b.provider_account_ids
        from etl.raw_batches as b
        where b.source = this.source and b.sealed_at > this.opened_at and b.raw_id <> %(raw_id)s
        offset 0
    ) as k
    cross join lateral (
        select o.start, o.stop
        from etl.chunks as o
        where o.chunk_id = k.chunk_id
        offset 0
    ) as c
    where
        c.start < this.stop
        and c.stop > this.start
        and exists (
            select 1
            from etl.loads as d
            where d.raw_id = k.raw_id and d.entity = %(entity)s
            offset 0
        )
)
select l.provider_account_id, max(later.sealed_at) as sealed_at
from later
cross join lateral unnest(coalesce(later.provider_account_ids, %(logins)s::bigint[])) as l (provider_account_id)
inner join unnest(%(logins)s::bigint[]) as m (provider_account_id) on m.provider_account_id = l.provider_account_id
where
    (
        later.provider_account_ids is not null
        or (l.provider_account_id >= later.start and l.provider_account_id < later.stop)
    )
    and not exists (
        select 1
        from etl.left_out as o
        where o.chunk_id = later.chunk_id and o.attempt = later.attempt and o.provider_account_id = l.provider_account_id
    )
group by l.provider_account_id;

-- name: drop_logins_of_later_snapshots
-- Take the logins out of a snapshot that a later one has too, unless records of theirs apply: an account that this snapshot
-- lacks may be in the later one.
delete from incoming_cursors as m
where
    m.provider_account_id = any(%(logins)s)
    and (
        %(is_replay)s
        or not exists (
            select 1
            from incoming as i
            where i.provider_account_id = m.provider_account_id
        )
    );
