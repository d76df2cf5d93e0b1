-- name: count_failures
-- Why deliveries of a run failed; the ledger itself is not read.
select f.error_class, sum(f.deliveries)::bigint as deliveries
from notify.failures as f
where f.run_id = %(run_id)s and f.deliveries > 0
group by f.error_class
order by 2 desc, 1;

-- name: count_unknown
-- What a run left in doubt and nobody has decided, by why. Reads the ledger between the first delivery of each such chunk and its last.
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
-- Chunks of which deliveries failed, for one of the classes that are asked for.
select distinct f.ordinal
from notify.failures as f
where
    f.run_id = %(run_id)s
    and f.deliveries > 0
    and (%(classes)s::text[] is null or f.error_class = any(%(classes)s))
order by f.ordinal;

-- name: list_unknown_chunks
-- Chunks with something in doubt, or with what a killed attempt left claimed: that is in doubt too, and none has said so yet.
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
    )
order by c.ordinal;

-- name: reopen
-- Only whoever holds the chunk's lock may do this. The chunk is walked again from its beginning, since only its audience knows what a message
-- says; up to where it had been walked nothing but what is reopened here is claimed.
with chunk as (
    select c.run_id, c.ordinal, c.first_id, c.last_id
    from notify.chunks as c
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
),
changed as (
    update notify.deliveries as d
    set
        state = 'reopened',
        ended_at = null,
        error_class = coalesce(d.error_class, 'unclassified')
    from chunk as c
    where
        d.delivery_id between c.first_id and c.last_id
        and d.run_id = c.run_id
        and d.ordinal = c.ordinal
        and d.state = %(state)s::notify.state
        and d.error_class is distinct from 'dropped'
        and (%(classes)s::text[] is null or coalesce(d.error_class, 'unclassified') = any(%(classes)s))
    returning d.error_class
),
counts as (
    select f.error_class, count(*) as deliveries
    from changed as f
    group by f.error_class
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
        reopened = c.reopened + n.deliveries,
        walked_to = greatest(c.walked_to, case when c.finished_at is null then c.position else c.stop - 1 end),
        reopened_at = case when c.finished_at is null then coalesce(c.reopened_at, now()) else now() end,
        position = c.start - 1,
        stalls = 0,
        finished_at = null
    from (select sum(t.deliveries)::bigint as deliveries from counts as t) as n
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s and n.deliveries > 0
)
select t.error_class, t.deliveries
from counts as t;

-- name: drop_unknown
-- Only whoever holds the chunk's lock may do this. Nobody knows whether these arrived, and nobody asks any more.
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
-- A run that was done goes on; one that is paused stays so, and so does one that was cancelled a moment ago.
update notify.runs as r
set
    state = 'running',
    ended_at = null
where r.run_id = %(run_id)s and r.state = 'done';
