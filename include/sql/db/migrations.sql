-- name: create_table
-- Migrations are recorded in the database that they change, in the same transaction.
-- The checksum shows that a file was edited after it was applied; warehouses of before had none.
create schema if not exists sluice;
create table if not exists sluice.migrations (
    name text primary key,
    applied_at timestamptz not null default now(),
    checksum text
);
alter table sluice.migrations add column if not exists checksum text;

-- name: exists
-- Before the first migration there is no such table, and a plan creates none.
select to_regclass('sluice.migrations') is not null as exists;

-- name: applied
-- The migrations that were applied to this warehouse, each with its checksum; the column itself may be missing.
select
    m.name,
    m.applied_at,
    to_jsonb(m) ->> 'checksum' as checksum
from sluice.migrations as m
order by m.name;

-- name: record
-- Record a migration.
insert into sluice.migrations (name, checksum) values (%(name)s, %(checksum)s);

-- name: record_checksum
-- A migration that was applied before checksums were kept is taken as it is now.
update sluice.migrations set checksum = %(checksum)s
where name = %(name)s and checksum is null;

-- name: invalid_indexes
-- An index that was built concurrently, and whose build failed: it slows writes down, and serves no query.
select i.indexrelid::regclass::text as index
from pg_index as i
inner join pg_class as c on c.oid = i.indexrelid
inner join pg_namespace as n on n.oid = c.relnamespace
where not i.indisvalid and n.nspname in ('core', 'etl', 'notify', 'sluice')
order by 1;

-- name: wait_for_transactions
-- A statement outside a transaction waits for older transactions, but holds up nobody meanwhile: it may wait long.
set lock_timeout = '1h';

-- name: reset_lock_timeout
-- Back to what the connection began with.
set lock_timeout to default;

-- name: keep_history
-- Create or extend what keeps the superseded versions of an entity's rows. The function comes with a migration.
select core.keep_history(%(entity)s);

-- name: stop_history
-- Keep no more versions of an entity's rows; those that it has stay.
select core.stop_history(%(entity)s);
