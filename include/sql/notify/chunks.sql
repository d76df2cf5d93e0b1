-- name: plan
-- Chunks are divided by the rank of a position and not by its value, so that gaps do not make them uneven. Those that share a position are in
-- one chunk. No id leaves the database. A null position violates `start`.
with audience as materialized ({bounds}),
size as (
    select
        count(*) as recipients,
        least(ceil(count(*) / %(chunk_size)s::numeric), %(max_chunks)s)::int as chunks
    from audience
),
ranked as (
    select
        a.position,
        ntile((select greatest(s.chunks, 1) from size as s)) over (order by a.position) - 1 as ordinal
    from audience as a
),
cut as (
    select
        k.ordinal,
        case when count(*) = count(k.position) then min(k.position) end as first_position,
        max(k.position) as last_position,
        count(*) as recipients
    from ranked as k
    group by k.ordinal
),
following as (
    -- Where one position goes on in the next chunk, that begins after it; one that has no other position is part of the chunk before it.
    select
        c.ordinal,
        case when c.first_position is not null then greatest(c.first_position, e.last_position + 1) end as start,
        c.last_position,
        c.recipients,
        e.last_position is null or c.last_position > e.last_position as is_new
    from cut as c
    left join cut as e on e.ordinal = c.ordinal - 1
),
numbered as (
    select
        f.start,
        f.last_position,
        f.recipients,
        count(*) filter (where f.is_new) over (order by f.ordinal) - 1 as ordinal
    from following as f
)
insert into notify.chunks as target (run_id, ordinal, start, stop, recipients, position, walked)
select
    %(run_id)s,
    n.ordinal,
    case when bool_and(n.start is not null) then min(n.start) end,
    max(n.last_position) + 1,
    sum(n.recipients),
    min(n.start) - 1,
    0
from numbered as n
group by n.ordinal
order by n.ordinal
returning target.ordinal, target.recipients;

-- name: finish_planning
-- Set the number of recipients; a run without recipients is done at once.
update notify.runs
set
    recipients = %(recipients)s,
    state = case when %(recipients)s = 0 then 'done' else state end,
    ended_at = case when %(recipients)s = 0 then now() end
where run_id = %(run_id)s;

-- name: list_unfinished
-- Chunks of a run that are not finished.
select c.ordinal
from notify.chunks as c
where c.run_id = %(run_id)s and c.finished_at is null
order by c.ordinal;

-- name: find
-- One chunk in its current state.
select c.run_id, c.ordinal, c.start, c.stop, c.recipients, c.position, c.attempt, c.finished_at, c.page_limit
from notify.chunks as c
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s;

-- name: left_claimed
-- Deliveries that are still `claimed` though no task sends the chunk: among the rows of the page that was walked last, and among deferrals.
select d.delivery_id, false as is_deferred
from notify.chunks as c
inner join notify.deliveries as d
    on d.delivery_id between c.claimed_from and c.claimed_to
    and d.run_id = c.run_id
    and d.ordinal = c.ordinal
where
    c.run_id = %(run_id)s
    and c.ordinal = %(ordinal)s
    and d.state = 'claimed'
    and not exists (
        select 1
        from notify.deferrals as f
        where f.delivery_id = d.delivery_id
    )
union all
select d.delivery_id, true
from notify.deferrals as f
inner join notify.deliveries as d using (delivery_id)
where f.run_id = %(run_id)s and f.ordinal = %(ordinal)s and d.state = 'claimed';

-- name: start_attempt
-- The caller must hold the chunk's lock. Rows that are still `claimed` become `unknown`: the worker of an earlier attempt was killed, and
-- whether before or after the message was sent cannot be known. Those that were deferred before are due again if the notice resends what is
-- unknown; the others of such a notice are claimed again when their page is walked again.
with left_claimed as ({left_claimed}),
marked as (
    update notify.deliveries as d
    set
        state = case when s.is_deferred and %(unknown)s = 'resend' then 'deferred' else 'unknown' end::notify.state,
        doubts = d.doubts + 1,
        ended_at = case when not (s.is_deferred and %(unknown)s = 'resend') then now() end,
        error_class = 'killed',
        error = null
    from left_claimed as s
    where d.delivery_id = s.delivery_id
    returning d.delivery_id, d.state
),
ended_deferrals as (
    delete from notify.deferrals as f
    using marked as m
    where f.delivery_id = m.delivery_id and m.state = 'unknown'
),
due as (
    update notify.deferrals as f
    set error_class = 'killed'
    from marked as m
    where f.delivery_id = m.delivery_id and m.state = 'deferred'
)
update notify.chunks as c
set
    attempt = c.attempt + 1,
    unknown = c.unknown + n.unknown,
    deferred = c.deferred + n.deferred,
    page_limit = case when n.deferred + n.unknown > 0 then greatest(c.page_limit / 2, 1) else c.page_limit end
from (
    select
        count(*) filter (where m.state = 'unknown') as unknown,
        count(*) filter (where m.state = 'deferred') as deferred
    from marked as m
) as n
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
returning c.run_id, c.ordinal, c.start, c.stop, c.recipients, c.position, c.attempt, c.finished_at, c.page_limit;

-- name: halve_page_size
-- A page of this size does not fit into the memory of a task. Skipped if deliveries stayed `claimed`: `start_attempt` then halves the limit.
update notify.chunks as c
set page_limit = greatest(c.page_limit / 2, 1)
where
    c.run_id = %(run_id)s
    and c.ordinal = %(ordinal)s
    and not exists ({left_claimed});

-- name: double_page_size
-- Pages of this size were sent without a death: one kill, such as that of a machine, must not make a chunk of hours slow to its end.
update notify.chunks as c
set page_limit = least(c.page_limit * 2, %(max_page)s)
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
returning c.page_limit;

-- name: finish
-- All deliveries of the chunk have ended.
update notify.chunks as c
set finished_at = now()
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s;

-- name: lock_run
-- Serializes tasks that finish the last chunks of a run at the same time, so that the last of them sees that all others are finished.
select r.run_id
from notify.runs as r
where r.run_id = %(run_id)s
for update;

-- name: end_run
-- A run has ended when all its chunks are finished. It has failed if too many of its messages were not delivered; of a few messages it is
-- not said, since the addresses of a few recipients may all be bad. Messages that expired count if a server had refused or deferred them, or
-- everything was refused; the ledger is read for them, once and only if some expired. Messages that merely came too late do not count.
with run as (
    select r.run_id, r.is_refused, r.max_failed_share
    from notify.runs as r
    where
        r.run_id = %(run_id)s
        and r.state in ('running', 'paused', 'held')
        and not exists (
            select 1
            from notify.chunks as c
            where c.run_id = r.run_id and c.finished_at is null
        )
),
lost as (
    select f.error_class, f.deliveries
    from notify.failures as f
    where f.run_id = %(run_id)s and f.deliveries > 0
    union all
    select coalesce(d.error_class, 'expired'), count(*)
    from run as r
    inner join notify.chunks as c using (run_id)
    inner join notify.deliveries as d
        on d.delivery_id between c.first_id and c.last_id
        and d.run_id = c.run_id
        and d.ordinal = c.ordinal
    where c.expired > 0 and d.state = 'expired' and (r.is_refused or d.error_class is not null)
    group by 1
),
totals as (
    select
        l.lost,
        l.lost + k.others as tried
    from (select coalesce(sum(o.deliveries), 0) as lost from lost as o) as l
    cross join (
        select coalesce(sum(c.sent + c.unknown), 0) as others
        from notify.chunks as c
        where c.run_id = %(run_id)s
    ) as k
),
classes as (
    select o.error_class, sum(o.deliveries) as deliveries
    from lost as o
    group by o.error_class
    order by 2 desc, 1
    limit 3
),
verdict as (
    select
        t.lost >= 10 and t.lost > r.max_failed_share * t.tried as has_failed,
        format(
            '%%s of %%s messages were not delivered (%%s)',
            to_char(t.lost, 'FM999,999,999'),
            to_char(t.tried, 'FM999,999,999'),
            (
                select string_agg(s.error_class || ': ' || to_char(s.deliveries, 'FM999,999,999'), ', ' order by s.deliveries desc)
                from classes as s
            )
        ) as reason
    from run as r
    cross join totals as t
)
update notify.runs as r
set
    state = case when v.has_failed then 'failed' else 'done' end,
    reason = case when v.has_failed then v.reason else '' end,
    is_refused = false,
    ended_at = now()
from verdict as v
where r.run_id = %(run_id)s;
