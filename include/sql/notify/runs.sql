-- name: find_or_create_notice
-- The id of a notice, created with its first run. The update changes nothing; it makes `returning` return an existing row.
insert into notify.notices as target (name)
values (%(notice)s)
on conflict (name) do update set name = excluded.name
returning target.notice_id;

-- name: create
-- Add the run of a period. If there is one already, no row is returned.
insert into notify.runs (notice_id, period, trigger, as_of, expires_at, parameters, pace, max_failed_share)
values (%(notice_id)s, %(period)s, %(trigger)s, %(as_of)s, %(expires_at)s, %(parameters)s, %(pace)s, %(max_failed_share)s)
on conflict (notice_id, period) do nothing
returning run_id;

-- name: find
-- One run: what was frozen at planning, and its current pace and state.
select
    r.run_id,
    r.notice_id,
    n.name as notice,
    r.period,
    r.trigger,
    r.as_of,
    r.expires_at,
    r.parameters,
    r.pace,
    r.state,
    exists (
        select 1
        from notify.announcements as a
        where a.run_id = r.run_id
    ) as is_announced,
    r.reason,
    r.planned_at,
    r.is_refused,
    exists (
        select 1
        from notify.breakers as b
        where b.notice_id = r.notice_id
    ) as has_breakers
from notify.runs as r
inner join notify.notices as n using (notice_id)
where r.run_id = %(run_id)s;

-- name: find_by_period
-- The run of a period, if it was planned.
select r.run_id
from notify.runs as r
inner join notify.notices as n using (notice_id)
where n.name = %(notice)s and r.period = %(period)s;

-- name: set_pace_or_state
-- Pace and state can be changed until a run has ended. One that was held goes on as soon as a person says so, and its reason is over.
update notify.runs as r
set
    pace = coalesce(%(pace)s, r.pace),
    state = coalesce(%(state)s, r.state),
    is_refused = r.is_refused and %(state)s::text is null,
    reason = case when %(state)s::text is null then r.reason else '' end,
    ended_at = case when %(state)s = 'cancelled' then now() end
where r.run_id = %(run_id)s and r.state in ('running', 'paused', 'held')
returning r.run_id;

-- name: list_stopped
-- Runs that have not ended, but send nothing now; one whose channels refuse everything sends probes.
select r.run_id
from notify.runs as r
where r.ended_at is null and ((r.state <> 'running' and not r.is_refused) or r.pace = 0);

-- name: read_totals
-- Summed counters of the chunks; the ledger is not read.
select
    count(*) as chunks,
    count(c.finished_at) as chunks_finished,
    coalesce(sum(c.recipients), 0)::bigint as recipients,
    coalesce(sum(c.walked), 0)::bigint as walked,
    count(*) - count(c.walked) as chunks_not_counted,
    coalesce(sum(c.sent), 0)::bigint as sent,
    coalesce(sum(c.failed), 0)::bigint as failed,
    coalesce(sum(c.suppressed), 0)::bigint as suppressed,
    coalesce(sum(c.expired), 0)::bigint as expired,
    coalesce(sum(c.unknown), 0)::bigint as unknown,
    coalesce(sum(c.dropped), 0)::bigint as dropped,
    coalesce(sum(c.deferred), 0)::bigint as deferred,
    coalesce(sum(c.unreachable), 0)::bigint as unreachable,
    coalesce(sum(c.repeated), 0)::bigint as repeated
from notify.chunks as c
where c.run_id = %(run_id)s;

-- name: count_deliveries
-- Reads the ledger only between the first and the last delivery of each chunk.
select count(*)
from notify.chunks as c
inner join notify.deliveries as d
    on d.delivery_id between c.first_id and c.last_id
    and d.run_id = c.run_id
    and d.ordinal = c.ordinal
where c.run_id = %(run_id)s;

-- name: save_report
-- Replaces the totals of an earlier report.
update notify.runs as r
set
    totals = %(totals)s,
    refusals = %(refusals)s
where r.run_id = %(run_id)s;

-- name: list_refusals
-- By whom, in what words and how often the messages of a run were refused, the most frequent first. Reads the ledger once, after a run that
-- has failed: to count while it is sent would cost all runs something for the sake of few.
with lost as (
    select
        d.channel,
        notify.destination(d.channel, a.address) as destination,
        coalesce(d.error_class, 'expired') as error_class,
        coalesce(d.error, '') as error
    from notify.chunks as c
    inner join notify.deliveries as d
        on d.delivery_id between c.first_id and c.last_id
        and d.run_id = c.run_id
        and d.ordinal = c.ordinal
    left join lateral (
        select k.address
        from notify.contacts as k
        where k.user_id = d.user_id and k.channel = d.channel
        order by k.contact_id desc
        limit 1
    ) as a on true
    where c.run_id = %(run_id)s and c.failed + c.expired > 0 and d.state in ('failed', 'expired')
)
select
    l.channel::text as channel,
    coalesce(l.destination, '') as destination,
    l.error_class,
    max(l.error) as error,
    count(*) as messages
from lost as l
group by l.channel, coalesce(l.destination, ''), l.error_class
order by count(*) desc, 1, 2, 3
limit %(limit)s;

-- name: find_by_dag_run
-- The run of a notice that a run of its Dag sends, with what an alert says of it.
select
    r.run_id,
    n.name as notice,
    r.period,
    r.state,
    r.reason,
    r.refusals,
    c.sent,
    c.failed,
    c.deferred,
    c.unknown,
    c.expired
from notify.runs as r
inner join notify.notices as n using (notice_id)
cross join lateral (
    select
        coalesce(sum(k.sent), 0)::bigint as sent,
        coalesce(sum(k.failed), 0)::bigint as failed,
        coalesce(sum(k.deferred), 0)::bigint as deferred,
        coalesce(sum(k.unknown - k.dropped), 0)::bigint as unknown,
        coalesce(sum(k.expired), 0)::bigint as expired
    from notify.chunks as k
    where k.run_id = r.run_id
) as c
where r.dag_run = %(dag_run)s and 'notify_' || n.name = %(dag_id)s
order by r.run_id desc
limit 1;

-- name: save_dag_run
-- A later run of the Dag may continue what an earlier one has begun.
update notify.runs as r
set dag_run = %(dag_run)s
where r.run_id = %(run_id)s;
