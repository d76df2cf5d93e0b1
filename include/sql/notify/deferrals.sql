-- name: list_due
-- Deferred deliveries of a chunk whose time has come, those that have waited longest first.
select
    f.delivery_id,
    f.position,
    f.tries,
    f.first_tried_at,
    d.user_id,
    d.dedupe_key,
    d.doubts
from notify.deferrals as f
inner join notify.deliveries as d using (delivery_id)
where f.run_id = %(run_id)s and f.ordinal = %(ordinal)s and f.not_before <= clock_timestamp()
order by f.not_before, f.delivery_id
limit %(limit)s;

-- name: claim
-- Claim deliveries that are due; eligibility is checked again at this moment. What is no longer eligible ends, and with it its deferral. A
-- delivery that may have arrived at an earlier try ends as `unknown`. What expires keeps the last answer of its server.
with page as (
    select t.line, d.user_id, d.dedupe_key, d.channel
    from unnest(%(lines)s::int[], %(delivery_ids)s::bigint[]) as t (line, delivery_id)
    inner join notify.deliveries as d using (delivery_id)
    where d.state = 'deferred' and d.run_id = %(run_id)s and d.ordinal = %(ordinal)s
),
eligibility as ({eligibility}),
judged as (
    select
        j.line,
        (%(delivery_ids)s::bigint[])[j.line + 1] as delivery_id,
        j.address,
        case
            when j.state = 'claimed' and not (a.is_in_audience and j.address is not null) then 'failed'
            else j.state
        end::notify.state as state,
        case
            when j.state = 'suppressed' then j.error_class
            when j.state = 'claimed' and not a.is_in_audience then 'not_in_audience'
            when j.state = 'claimed' and j.address is null then 'no_address'
        end as error_class
    from eligibility as j
    cross join lateral (select (%(in_audience)s::boolean[])[j.line + 1] as is_in_audience) as a
),
written as (
    update notify.deliveries as d
    set
        state = case when j.state <> 'claimed' and d.doubts > 0 then 'unknown' else j.state end::notify.state,
        attempt = %(attempt)s,
        claimed_at = case when j.state = 'claimed' then now() else d.claimed_at end,
        ended_at = case when j.state <> 'claimed' then now() end,
        error_class = coalesce(j.error_class, d.error_class),
        error = case when j.error_class is null then d.error end
    from judged as j
    where d.delivery_id = j.delivery_id and d.state = 'deferred'
    returning j.line, j.address, d.delivery_id, d.channel, d.state, d.error_class
),
ended_deferrals as (
    delete from notify.deferrals as f
    using written as w
    where f.delivery_id = w.delivery_id and w.state <> 'claimed'
),
counted_failures as (
    insert into notify.failures as target (run_id, ordinal, error_class, deliveries)
    select %(run_id)s, %(ordinal)s, coalesce(w.error_class, 'unclassified'), count(*)
    from written as w
    where w.state = 'failed'
    group by coalesce(w.error_class, 'unclassified')
    on conflict (run_id, ordinal, error_class) do update set deliveries = target.deliveries + excluded.deliveries
),
updated_chunk as (
    update notify.chunks as c
    set
        deferred = c.deferred - n.deliveries,
        failed = c.failed + n.failed,
        suppressed = c.suppressed + n.suppressed,
        expired = c.expired + n.expired,
        unknown = c.unknown + n.unknown
    from (
        select
            count(*) as deliveries,
            count(*) filter (where w.state = 'failed') as failed,
            count(*) filter (where w.state = 'suppressed') as suppressed,
            count(*) filter (where w.state = 'expired') as expired,
            count(*) filter (where w.state = 'unknown') as unknown
        from written as w
    ) as n
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
)
select w.line, w.channel::text as channel, w.delivery_id, w.address
from written as w
where w.state = 'claimed';

-- name: find_waiting
-- How many deliveries of a chunk wait, and until the first of them is due.
select
    count(*) as deliveries,
    greatest(min(f.not_before) - clock_timestamp(), interval '0') as wait
from notify.deferrals as f
where f.run_id = %(run_id)s and f.ordinal = %(ordinal)s
having count(*) > 0;

-- name: summarize
-- Deferred deliveries of a run by why and where they wait; those of them that are being sent now are included.
select
    f.reason,
    f.destination,
    coalesce(f.error_class, '') as error_class,
    count(*) as deliveries,
    min(f.not_before) as next_at,
    max(f.not_before) as last_at
from notify.deferrals as f
where f.run_id = %(run_id)s
group by f.reason, f.destination, coalesce(f.error_class, '')
order by count(*) desc, 1, 2, 3;

-- name: count
-- Deferred deliveries of a run by error class, those with one of the given classes or all.
select coalesce(f.error_class, 'unclassified') as error_class, count(*) as deliveries
from notify.deferrals as f
where
    f.run_id = %(run_id)s
    and (%(error_classes)s::text[] is null or coalesce(f.error_class, 'unclassified') = any(%(error_classes)s))
group by 1;

-- name: hurry
-- Let deferred deliveries of a run be due now; the deferral of a delivery that is being sent is written again when its result is known.
with changed as (
    update notify.deferrals as f
    set not_before = now()
    where
        f.run_id = %(run_id)s
        and (%(error_classes)s::text[] is null or coalesce(f.error_class, 'unclassified') = any(%(error_classes)s))
    returning coalesce(f.error_class, 'unclassified') as error_class
)
select h.error_class, count(*) as deliveries
from changed as h
group by h.error_class;

-- name: cancel
-- End the deferred deliveries of a run, which was cancelled. Those that are being sent are left to their sender.
with changed as (
    update notify.deliveries as d
    set
        state = case when d.doubts > 0 then 'unknown' else 'failed' end::notify.state,
        ended_at = now(),
        error_class = 'cancelled'
    from notify.deferrals as f
    where f.run_id = %(run_id)s and d.delivery_id = f.delivery_id and d.state = 'deferred'
    returning d.delivery_id, d.ordinal, d.state
),
ended_deferrals as (
    delete from notify.deferrals as f
    using changed as h
    where f.delivery_id = h.delivery_id
),
counts as (
    select
        h.ordinal,
        count(*) as deliveries,
        count(*) filter (where h.state = 'failed') as failed,
        count(*) filter (where h.state = 'unknown') as unknown
    from changed as h
    group by h.ordinal
),
counted_failures as (
    insert into notify.failures as target (run_id, ordinal, error_class, deliveries)
    select %(run_id)s, t.ordinal, 'cancelled', t.failed
    from counts as t
    where t.failed > 0
    order by t.ordinal
    on conflict (run_id, ordinal, error_class) do update set deliveries = target.deliveries + excluded.deliveries
)
update notify.chunks as c
set
    deferred = c.deferred - t.deliveries,
    failed = c.failed + t.failed,
    unknown = c.unknown + t.unknown
from counts as t
where c.run_id = %(run_id)s and c.ordinal = t.ordinal;
