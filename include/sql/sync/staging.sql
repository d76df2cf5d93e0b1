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
where c.provider_account_id = i.provider_account_id and c.feed = %(feed)s and c.told_at > i.observed_at;

-- name: drop_older_than_snapshot
-- A snapshot is complete: where a later one of the same account was loaded, the earlier one is outdated.
delete from incoming as i
using etl.raw_batches as this, etl.raw_batches as later, etl.chunks as c
where
    this.raw_id = %(raw_id)s
    and later.source = this.source
    and later.raw_id > this.raw_id
    and c.chunk_id = later.chunk_id
    and i.provider_account_id >= c.start
    and i.provider_account_id < c.stop
    and exists (
        select 1
        from etl.loads as l
        where l.raw_id = later.raw_id and l.entity = %(entity)s
    )
    and not exists (
        select 1
        from etl.left_out as o
        where o.chunk_id = later.chunk_id and o.attempt = later.attempt and o.provider_account_id = i.provider_account_id
    );
