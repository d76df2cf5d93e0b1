-- name: create_table
-- Migrations are recorded in the database that they change, in the same transaction.
create schema if not exists sluice;
create table if not exists sluice.migrations (
    name text primary key,
    applied_at timestamptz not null default now()
);

-- name: applied
-- Names of the migrations that were applied to this warehouse.
select m.name
from sluice.migrations as m
order by m.name;

-- name: record
-- Record a migration.
insert into sluice.migrations (name) values (%(name)s);

-- name: keep_history
-- Create or extend what keeps the superseded versions of an entity's rows. The function comes with a migration.
select core.keep_history(%(entity)s);

-- name: stop_history
-- Keep no more versions of an entity's rows; those that it has stay.
select core.stop_history(%(entity)s);
