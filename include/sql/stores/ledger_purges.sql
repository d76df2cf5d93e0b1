-- name: chunks
-- Runs that ended long ago. Without its chunks nothing of a run can be sent again, so that they go before the first of its deliveries;
-- the run itself stays for good, and its period is never planned twice. One that is opened again meanwhile is waited for, and passed over.
with ended as materialized (
    select r.run_id
    from notify.runs as r
    where
        r.run_id > %(after)s
        and r.state in ('done', 'cancelled')
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
removed as (
    delete from notify.chunks as c
    using ended as e
    where c.run_id = e.run_id and not %(dry_run)s
),
emptied as (
    -- The row stays: without it, its run would be one for everybody.
    update notify.announcements as a
    set
        users = '{}',
        said = '{}'
    from ended as e
    where a.run_id = e.run_id and not %(dry_run)s
),
held as (
    select c.run_id, count(*) as chunks
    from notify.chunks as c
    inner join ended as e using (run_id)
    group by c.run_id
)
select max(h.run_id) as last, coalesce(sum(h.chunks), 0)::bigint as chunks
from held as h;

-- name: page
-- A stretch of the ledger by its key, which rises with time, so that the oldest lie first; no index tells whose run they are.
select max(p.delivery_id) as last, min(p.claimed_at) as earliest
from (
    select d.delivery_id, d.claimed_at
    from notify.deliveries as d
    where d.delivery_id > %(after)s
    order by d.delivery_id
    limit %(limit)s
) as p;

-- name: remove
-- What of a stretch belongs to runs that ended long ago. A run that has chunks may still be sent, and would tell everybody again.
delete from notify.deliveries as d
using notify.runs as r
where
    d.delivery_id > %(after)s
    and d.delivery_id <= %(last)s
    and r.run_id = d.run_id
    and r.state in ('done', 'cancelled')
    and r.ended_at < %(before)s
    and not exists (
        select 1
        from notify.chunks as c
        where c.run_id = r.run_id
    );

-- name: count
-- What `remove` would remove, once the chunks are gone.
select count(*) as deliveries
from notify.deliveries as d
inner join notify.runs as r using (run_id)
where
    d.delivery_id > %(after)s
    and d.delivery_id <= %(last)s
    and r.state in ('done', 'cancelled')
    and r.ended_at < %(before)s;

-- name: unended
-- Runs that were planned long ago and never ended, whose deliveries are kept.
select r.run_id
from notify.runs as r
where r.state not in ('done', 'cancelled') and r.planned_at < %(before)s
order by r.run_id;
