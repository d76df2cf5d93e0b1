-- name: create
-- An empty database for the kit alone.
create database {name};

-- name: copy
-- A copy of it, so that each behaviour begins with empty tables.
create database {name} template {template};

-- name: drop
-- Whoever is still connected is a step that was killed.
drop database if exists {name} with (force);

-- name: rows
-- The live rows of an entity. What says when and from which batch a row was read differs between two reads.
select (to_jsonb(t) - array['observed_at', 'raw_id', 'outdated_at'])::text as row
from {table} as t
where to_jsonb(t) ->> 'removed_at' is null and to_jsonb(t) ->> 'closed_on' is null;

-- name: cursors
-- How far the feed of each login was loaded.
select c.provider_account_id, c.value
from etl.cursors as c
where c.feed = %(feed)s;

-- name: rejects
-- Rejects whose record was not loaded since.
select r.entity, r.provider_account_id, r.path, r.rule
from etl.rejects as r
where r.closed_at is null;

-- name: left_out
-- Logins that the latest run of an entity left out, and why.
select l.provider_account_id, l.outcome, coalesce(l.reason, '') as reason
from etl.left_out as l
inner join etl.chunks as c using (chunk_id)
where c.entity = %(entity)s and c.run_id = %(run_id)s;

-- name: quarantined
-- Logins whose latest batch was not loaded.
select q.provider_account_id
from etl.quarantines as q
where q.entity = %(entity)s;

-- name: lock
-- Whoever writes to the table waits; whoever reads it does not.
lock table {table} in exclusive mode;

-- name: waits
-- Whether a step waits for a lock.
select count(*) > 0 as is_waiting
from pg_stat_activity as a
where a.datname = current_database() and a.application_name = %(application)s and a.wait_event_type = 'Lock';

-- name: kill
-- To the database this is the death of the process: its transaction never happened, and it can write nothing more.
select count(pg_terminate_backend(a.pid)) as killed
from pg_stat_activity as a
where a.datname = current_database() and a.application_name = %(application)s;
