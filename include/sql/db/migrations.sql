-- name: create_table
-- Migrations are recorded where they are applied, in the same transaction.
create schema if not exists sluice;
create table if not exists sluice.migrations (
    name text primary key,
    applied_at timestamptz not null default now()
);

-- name: applied
-- Names of the migrations that this warehouse has.
select m.name
from sluice.migrations as m
order by m.name;

-- name: record
-- Remember one migration.
insert into sluice.migrations (name) values (%(name)s);
