-- name: find_run
-- A run. Of its deadlines, the last is the real one; those before it only check whether the run will be late.
select
    r.run_type,
    r.state,
    r.queued_at,
    r.start_date as started_at,
    r.end_date as ended_at,
    r.data_interval_start as interval_start,
    r.data_interval_end as interval_end,
    (select max(d.deadline_time) from deadline as d where d.dagrun_id = r.id) as deadline_at
from dag_run as r
where r.dag_id = %(dag_id)s and r.run_id = %(run_id)s;

-- name: open_tasks
-- Tasks of a run that are running, waiting or failed; the longest in their state first.
select
    t.task_id,
    t.map_index,
    t.state,
    t.try_number as attempt,
    t.max_tries + 1 as max_attempts,
    t.pool,
    t.queue,
    case t.state
        when 'running' then t.start_date
        when 'scheduled' then t.scheduled_dttm
        when 'queued' then t.queued_dttm
        else t.end_date
    end as state_since
from task_instance as t
where
    t.dag_id = %(dag_id)s
    and t.run_id = %(run_id)s
    and t.state in ('running', 'restarting', 'scheduled', 'queued', 'up_for_retry', 'up_for_reschedule', 'deferred', 'failed')
order by state_since nulls last, t.task_id, t.map_index;

-- name: pool_usage
-- All slots of some pools, and those in use.
select
    p.pool as name,
    p.slots,
    coalesce(
        (
            select sum(t.pool_slots)
            from task_instance as t
            where t.pool = p.pool and t.state in ('running', 'queued')
        ),
        0
    )::int as occupied_slots
from slot_pool as p
where p.pool = any(%(names)s);

-- name: durations
-- Durations of the last successful runs that were scheduled or triggered by an asset; the newest first.
select r.run_id, r.end_date - r.start_date as duration
from dag_run as r
where
    r.dag_id = %(dag_id)s
    and r.state = 'success'
    and r.run_type in ('scheduled', 'asset_triggered')
    and r.start_date is not null
    and r.end_date is not null
order by r.id desc
limit %(limit)s;
