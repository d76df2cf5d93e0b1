-- name: drop_table
-- A transaction that merges several batches has one after the other in hand.
drop table if exists pg_temp.incoming;

-- name: raise_work_mem
-- What is sorted, hashed and kept of a batch of 150,000 rows are 60 MB each time; a merge does so three times at most.
-- Until the transaction ends, and never less than the server gives.
select set_config('work_mem', '64MB', true)
where pg_size_bytes(current_setting('work_mem')) < pg_size_bytes('64MB');

-- name: raise_temp_buffers
-- A batch of 200,000 rows takes 64 MB, and is read some eight times. Postgres takes no more than it needs, and lets this
-- be chosen only before a session's first temporary table.
select set_config('temp_buffers', '64MB', true)
where pg_size_bytes(current_setting('temp_buffers')) < pg_size_bytes('64MB') and pg_my_temp_schema() = 0;

-- name: prefer_index_lookup
-- A table that is small when a merge is planned, and read as a whole for each row, may be large a moment later, when
-- another merge has filled it. What that makes a plan seem to cost is no reason to compile it.
select set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true);

-- name: prefer_hash_join
-- Rows that are read together are joined together: a table that is empty when a merge is planned may not be a moment later.
-- What is hashed takes no more memory than what is sorted, from then on until the transaction ends.
select set_config('enable_nestloop', 'off', true), set_config('hash_mem_multiplier', '1', true);

-- name: reset_index_lookup
-- Whatever the server says.
set local enable_seqscan to default;

-- name: reset_hash_join
-- Whatever the server says.
set local enable_nestloop to default;

-- name: lower_statistics_target
-- How many rows and accounts a batch has is seen in three thousand rows as well as in thirty thousand.
set local default_statistics_target = 10;

-- name: reset_statistics_target
-- Whatever the server says.
set local default_statistics_target to default;

-- name: drop_older_than_feed
-- A window says what was so when it was read. Where the feed told something since, what the window says of a row is
-- older than that, and a row that it alone knows of is gone.
delete from incoming as i
using etl.cursors as k
where k.provider_account_id = i.provider_account_id and k.feed = %(feed)s and k.told_at > i.observed_at;

-- name: drop_older_than_snapshot
-- A snapshot tells of everything: where a later one was loaded, it has nothing to add.
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
