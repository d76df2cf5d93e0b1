-- name: count_failures
-- Failed deliveries of a run by error class, from counters; the ledger is not read.
select f.error_class, sum(f.deliveries)::bigint as deliveries
from notify.failures as f
where f.run_id = %(run_id)s and f.deliveries > 0
group by f.error_class
order by 2 desc, 1;

-- name: count_unknown
-- Unknown deliveries of a run that were not dropped, by error class. Reads the ledger only between the first and the last delivery of each
-- chunk that has some.
select coalesce(d.error_class, 'unclassified') as error_class, count(*) as deliveries
from notify.chunks as c
inner join notify.deliveries as d
    on d.delivery_id between c.first_id and c.last_id
    and d.run_id = c.run_id
    and d.ordinal = c.ordinal
where
    c.run_id = %(run_id)s
    and c.unknown > c.dropped
    and d.state = 'unknown'
    and d.error_class is distinct from 'dropped'
group by 1
order by 2 desc, 1;

-- name: list_failed_chunks
-- Chunks with failed deliveries of one of the given error classes, or of any if none are given.
select distinct f.ordinal
from notify.failures as f
where
    f.run_id = %(run_id)s
    and f.deliveries > 0
    and (%(error_classes)s::text[] is null or f.error_class = any(%(error_classes)s))
order by f.ordinal;

-- name: list_unknown_chunks
-- Chunks with unknown deliveries, or with rows that a killed attempt left `claimed`, which the next attempt will make `unknown`.
select c.ordinal
from notify.chunks as c
where
    c.run_id = %(run_id)s
    and (
        c.unknown > c.dropped
        or exists (
            select 1
            from notify.deliveries as d
            where
                d.delivery_id between c.claimed_from and c.claimed_to
                and d.run_id = c.run_id
                and d.ordinal = c.ordinal
                and d.state = 'claimed'
        )
        or exists (
            select 1
            from notify.deferrals as f
            inner join notify.deliveries as d using (delivery_id)
            where f.run_id = c.run_id and f.ordinal = c.ordinal and d.state = 'claimed'
        )
    )
order by c.ordinal;

-- name: reopen
-- The caller must hold the chunk's lock. A reopened delivery is a deferral that is due now. The ledger has no positions: they come from the
-- audience, and a user who has left it has none.
with chunk as (
    select c.run_id, c.ordinal, c.first_id, c.last_id
    from notify.chunks as c
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
),
audience as (
    select r.user_id, r.dedupe_key, min(r.position) as position
    from ({recipients}) as r
    group by r.user_id, r.dedupe_key
),
changed as (
    update notify.deliveries as d
    set
        state = 'deferred',
        ended_at = null,
        error_class = coalesce(d.error_class, 'unclassified')
    from chunk as c
    where
        d.delivery_id between c.first_id and c.last_id
        and d.run_id = c.run_id
        and d.ordinal = c.ordinal
        and d.state = %(state)s::notify.state
        and d.error_class is distinct from 'dropped'
        and (%(error_classes)s::text[] is null or coalesce(d.error_class, 'unclassified') = any(%(error_classes)s))
    returning d.delivery_id, d.user_id, d.dedupe_key, d.error_class
),
deferred as (
    insert into notify.deferrals (delivery_id, run_id, ordinal, position, reason, not_before, error_class)
    select h.delivery_id, %(run_id)s, %(ordinal)s, a.position, 'reopened', now(), h.error_class
    from changed as h
    left join audience as a using (user_id, dedupe_key)
),
counts as (
    select h.error_class, count(*) as deliveries
    from changed as h
    group by h.error_class
),
reduced_failures as (
    update notify.failures as f
    set deliveries = f.deliveries - t.deliveries
    from counts as t
    where
        %(state)s = 'failed'
        and f.run_id = %(run_id)s
        and f.ordinal = %(ordinal)s
        and f.error_class = t.error_class
),
updated_chunk as (
    update notify.chunks as c
    set
        failed = c.failed - case when %(state)s = 'failed' then n.deliveries else 0 end,
        unknown = c.unknown - case when %(state)s = 'unknown' then n.deliveries else 0 end,
        deferred = c.deferred + n.deliveries,
        finished_at = null
    from (select sum(t.deliveries)::bigint as deliveries from counts as t) as n
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s and n.deliveries > 0
)
select t.error_class, t.deliveries
from counts as t;

-- name: drop_unknown
-- The caller must hold the chunk's lock. The deliveries stay `unknown`, and are never sent again.
with chunk as (
    select c.run_id, c.ordinal, c.first_id, c.last_id
    from notify.chunks as c
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
),
changed as (
    update notify.deliveries as d
    set error_class = 'dropped'
    from chunk as c
    where
        d.delivery_id between c.first_id and c.last_id
        and d.run_id = c.run_id
        and d.ordinal = c.ordinal
        and d.state = 'unknown'
        and d.error_class is distinct from 'dropped'
    returning d.delivery_id
)
update notify.chunks as c
set dropped = c.dropped + (select count(*) from changed)
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
returning (select count(*) from changed) as deliveries;

-- name: restart_run
-- A run that was done is set running; one that is paused, or was cancelled a moment ago, stays so.
update notify.runs as r
set
    state = 'running',
    ended_at = null
where r.run_id = %(run_id)s and r.state = 'done';
