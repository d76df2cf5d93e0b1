-- name: purge_run_chunks
-- Chunks of runs that ended long ago. Without chunks a run can send nothing again, so they are removed before the first of its
-- deliveries. The run itself stays for good, so that its period is never planned twice. The row lock waits for a run that is
-- being reopened, which then no longer matches and is skipped.
with ended_runs as materialized (
    select r.run_id
    from notify.runs as r
    where
        r.run_id > %(after)s
        and r.state in ('done', 'cancelled', 'failed')
        and r.ended_at < %(before)s
        and exists (
            select 1
            from notify.chunks as c
            where c.run_id = r.run_id
        )
    order by r.run_id
    limit %(limit)s
    for update
),
deleted_chunks as (
    delete from notify.chunks as c
    using ended_runs as e
    where c.run_id = e.run_id and not %(dry_run)s
),
cleared_announcements as (
    -- The row stays: without it, its run would count as one whose recipients the SQL of its notice selects.
    update notify.announcements as a
    set
        users = '{}',
        said = '{}'
    from ended_runs as e
    where a.run_id = e.run_id and not %(dry_run)s
),
run_chunks as (
    select c.run_id, count(*) as chunks
    from notify.chunks as c
    inner join ended_runs as e using (run_id)
    group by c.run_id
)
select max(h.run_id) as last, coalesce(sum(h.chunks), 0)::bigint as chunks
from run_chunks as h;

-- name: next_delivery_page
-- The next page of the ledger by its key, which grows with time, so that the oldest rows come first; there is no index on the
-- run of a delivery.
select max(p.delivery_id) as last, min(p.claimed_at) as earliest
from (
    select d.delivery_id, d.claimed_at
    from notify.deliveries as d
    where d.delivery_id > %(after)s
    order by d.delivery_id
    limit %(limit)s
) as p;

-- name: purge_deliveries
-- Remove the deliveries of a page whose runs ended long ago. A run that still has chunks may be sent again, and without its
-- deliveries every recipient would get its message twice.
delete from notify.deliveries as d
using notify.runs as r
where
    d.delivery_id > %(after)s
    and d.delivery_id <= %(last)s
    and r.run_id = d.run_id
    and r.state in ('done', 'cancelled', 'failed')
    and r.ended_at < %(before)s
    and not exists (
        select 1
        from notify.chunks as c
        where c.run_id = r.run_id
    );

-- name: count_expired_deliveries
-- Number of rows that `purge_deliveries` would remove once the chunks are removed.
select count(*) as deliveries
from notify.deliveries as d
inner join notify.runs as r using (run_id)
where
    d.delivery_id > %(after)s
    and d.delivery_id <= %(last)s
    and r.state in ('done', 'cancelled', 'failed')
    and r.ended_at < %(before)s;

-- name: purge_bounces
-- Bounces are few; the events of contacts say for good why an address ended.
with expired as materialized (
    select b.bounce_id
    from notify.bounces as b
    where b.tried_at < %(before)s
),
deleted as (
    delete from notify.bounces as b
    using expired as e
    where b.bounce_id = e.bounce_id and not %(dry_run)s
)
select count(*) as bounces
from expired as e;

-- name: unfinished_runs
-- Runs that were planned long ago and have not ended, so that their deliveries are kept.
select r.run_id
from notify.runs as r
where r.state not in ('done', 'cancelled', 'failed') and r.planned_at < %(before)s
order by r.run_id;
