-- name: find_or_create_notice
-- The id of a notice, created with its first run. The update changes nothing; it makes `returning` return an existing row.
insert into notify.notices as target (name)
values (%(notice)s)
on conflict (name) do update set name = excluded.name
returning target.notice_id;

-- name: create
-- Add the run of a period. If there is one already, no row is returned.
insert into notify.runs (notice_id, period, trigger, as_of, expires_at, parameters, pace)
values (%(notice_id)s, %(period)s, %(trigger)s, %(as_of)s, %(expires_at)s, %(parameters)s, %(pace)s)
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
    r.reason
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
    reason = case when %(state)s::text is null then r.reason else '' end,
    ended_at = case when %(state)s = 'cancelled' then now() end
where r.run_id = %(run_id)s and r.state in ('running', 'paused', 'held')
returning r.run_id;

-- name: list_stopped
-- Runs that have not ended, but send nothing now.
select r.run_id
from notify.runs as r
where r.ended_at is null and (r.state <> 'running' or r.pace = 0);

-- name: read_totals
-- Summed counters of the chunks; the ledger is not read.
select
    count(*) as chunks,
    count(c.finished_at) as chunks_finished,
    coalesce(sum(c.recipients), 0)::bigint as recipients,
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

-- name: save_report
-- Replaces the totals of an earlier report.
update notify.runs as r
set totals = %(totals)s
where r.run_id = %(run_id)s;
