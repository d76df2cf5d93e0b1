-- name: read
-- All breakers of a notice, in practice: open ones first. Only destinations with several recent refusals have one.
select
    b.channel::text as channel,
    b.destination,
    b.counted_at,
    b.state,
    b.attempts,
    b.refusals,
    b.streak,
    b.trips,
    b.opened_at,
    b.probe_at,
    b.error_class,
    b.reason
from notify.breakers as b
where b.notice_id = %(notice_id)s
order by b.state = 'closed', b.counted_at desc
limit 1000;

-- name: list_open_destinations
-- Destinations of which any notice has an open breaker; of a whole channel, an empty one.
select distinct b.channel::text as channel, b.destination
from notify.breakers as b
where b.state <> 'closed';

-- name: add
-- Rows for destinations that have none, so that they can be locked.
insert into notify.breakers (notice_id, channel, destination, counted_at)
select %(notice_id)s, t.channel, t.destination, clock_timestamp()
from unnest(%(channels)s::notify.channel[], %(destinations)s::text[]) as t (channel, destination)
order by t.channel, t.destination
on conflict (notice_id, channel, destination) do nothing;

-- name: lock
-- Rows to change, in the order of their key, so that senders that change the same ones cannot deadlock.
select
    b.channel::text as channel,
    b.destination,
    b.counted_at,
    b.state,
    b.attempts,
    b.refusals,
    b.streak,
    b.trips,
    b.opened_at,
    b.probe_at,
    b.error_class,
    b.reason
from notify.breakers as b
inner join unnest(%(channels)s::notify.channel[], %(destinations)s::text[]) as t (channel, destination) using (channel, destination)
where b.notice_id = %(notice_id)s
order by b.channel, b.destination
for update of b;

-- name: clock
-- Now, also inside a transaction that waited for a lock.
select clock_timestamp();

-- name: save
-- The caller has locked the rows.
update notify.breakers as b
set
    counted_at = t.counted_at,
    state = t.state,
    attempts = t.attempts,
    refusals = t.refusals,
    streak = t.streak,
    trips = t.trips,
    opened_at = t.opened_at,
    probe_at = t.probe_at,
    error_class = t.error_class,
    reason = t.reason
from
    unnest(
        %(channels)s::notify.channel[],
        %(destinations)s::text[],
        %(counted_ats)s::timestamptz[],
        %(states)s::text[],
        %(attempts)s::double precision[],
        %(refusals)s::double precision[],
        %(streaks)s::double precision[],
        %(trips)s::smallint[],
        %(opened_ats)s::timestamptz[],
        %(probe_ats)s::timestamptz[],
        %(error_classes)s::text[],
        %(reasons)s::text[]
    ) as t (
        channel, destination, counted_at, state, attempts, refusals, streak, trips, opened_at, probe_at, error_class, reason
    )
where b.notice_id = %(notice_id)s and b.channel = t.channel and b.destination = t.destination;

-- name: forget
-- Breakers of destinations that are healthy, so that the table holds only the trouble of the last minutes. Those that another sender is
-- changing, or has changed, are kept.
delete from notify.breakers as b
using (
    select o.notice_id, o.channel, o.destination
    from notify.breakers as o
    inner join unnest(%(channels)s::notify.channel[], %(destinations)s::text[], %(counted_ats)s::timestamptz[])
        as t (channel, destination, counted_at) using (channel, destination, counted_at)
    where o.notice_id = %(notice_id)s and o.state = 'closed'
    for update of o skip locked
) as h
where b.notice_id = h.notice_id and b.channel = h.channel and b.destination = h.destination;

-- name: clear
-- A person ends the hold of a run: everything is tried again at once.
delete from notify.breakers as b
using notify.runs as r
where r.run_id = %(run_id)s and b.notice_id = r.notice_id;

-- name: hold_runs
-- The channels of a notice refuse everything: none of its runs has anything to send but probes.
update notify.runs as r
set
    state = 'held',
    is_refused = true,
    reason = %(reason)s
where r.notice_id = %(notice_id)s and r.state = 'running';

-- name: resume_runs
-- A channel accepts messages again. Runs that are held for another reason stay held.
update notify.runs as r
set
    state = 'running',
    is_refused = false,
    reason = ''
where r.notice_id = %(notice_id)s and r.state = 'held' and r.is_refused;

-- name: recall
-- The caller holds the lock of the chunk. What failed as part of a wave is deferred instead, after its first try; what was said against its
-- address then is forgotten.
with recalled as (
    update notify.deliveries as d
    set
        state = 'deferred',
        ended_at = null
    from (
        select f.delivery_id, f.ended_at, t.position
        from unnest(%(delivery_ids)s::bigint[], %(positions)s::bigint[]) as t (delivery_id, position)
        inner join notify.deliveries as f using (delivery_id)
        where f.state = 'failed' and f.run_id = %(run_id)s and f.ordinal = %(ordinal)s
    ) as o
    where d.delivery_id = o.delivery_id
    returning d.delivery_id, d.error_class, o.position, o.ended_at
),
deferred as (
    insert into notify.deferrals (
        delivery_id, run_id, ordinal, position, reason, destination, not_before, tries, first_tried_at, error_class
    )
    select
        e.delivery_id,
        %(run_id)s,
        %(ordinal)s,
        e.position,
        'held',
        %(destination)s,
        clock_timestamp(),
        1,
        e.ended_at,
        e.error_class
    from recalled as e
    on conflict (delivery_id) do nothing
),
forgotten_bounces as (
    delete from notify.bounces as b
    using recalled as e
    where b.delivery_id = e.delivery_id and b.source = 'server' and b.counts is null
),
counts as (
    select coalesce(e.error_class, 'unclassified') as error_class, count(*) as deliveries
    from recalled as e
    group by 1
),
reduced_failures as (
    update notify.failures as f
    set deliveries = f.deliveries - t.deliveries
    from counts as t
    where f.run_id = %(run_id)s and f.ordinal = %(ordinal)s and f.error_class = t.error_class
)
update notify.chunks as c
set
    failed = c.failed - n.deliveries,
    deferred = c.deferred + n.deliveries
from (select count(*) as deliveries from recalled) as n
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s and n.deliveries > 0;
