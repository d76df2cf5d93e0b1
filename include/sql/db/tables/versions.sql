-- name: create_table
-- What each version of an entity declared, so that a change of the declaration under the same number is noticed.
create table if not exists sluice.versions (
    entity text not null,
    version int not null,
    declared jsonb not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (entity, version)
);

-- name: exists
-- Before the first migration there is no such table, and a plan creates none.
select to_regclass('sluice.versions') is not null as exists;

-- name: of_entity
-- The versions of an entity that were recorded, the latest first.
select v.version, v.declared
from sluice.versions as v
where v.entity = %(entity)s
order by v.recorded_at desc, v.version desc;

-- name: has_loaded
-- Whether a version of an entity, or any, has loaded a batch.
select exists (
    select 1
    from etl.loads as l
    where l.entity = %(entity)s and (%(version)s::int is null or l.version = %(version)s)
) as has_loaded;

-- name: record
-- Record what a version declares; one that has loaded nothing may still change.
insert into sluice.versions as target (entity, version, declared) values (%(entity)s, %(version)s, %(declared)s)
on conflict (entity, version) do update set declared = excluded.declared
where target.declared is distinct from excluded.declared;
