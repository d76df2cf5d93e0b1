-- name: find_blockers
-- Who holds the locks that a connection waits for, and who holds up those in turn: the first in the chain is often only
-- another victim. `pg_blocking_pids` is asked only while the connection does wait for a lock, since it stops the lock
-- manager for a moment. The pid is 0 for a prepared transaction, which belongs to no process.
with recursive blockers as (
    select b.pid, 1 as depth
    from pg_stat_activity as w
    cross join lateral unnest(pg_blocking_pids(w.pid)) as b (pid)
    where w.pid = %(pid)s and w.wait_event_type = 'Lock'
    union
    select b.pid, k.depth + 1
    from blockers as k
    inner join pg_stat_activity as w using (pid)
    cross join lateral unnest(pg_blocking_pids(w.pid)) as b (pid)
    where k.depth < 5 and w.wait_event_type = 'Lock'
)
select
    n.pid,
    coalesce(a.usename, '') as login,
    coalesce(a.application_name, '') as application,
    coalesce(host(a.client_addr), '') as address,
    coalesce(a.state, '') as state,
    clock_timestamp() - a.xact_start as open_for,
    coalesce(a.query, '') as query
from (
    select k.pid, min(k.depth) as depth
    from blockers as k
    group by k.pid
) as n
left join pg_stat_activity as a on a.pid = n.pid
where n.pid <> %(pid)s
order by n.depth, n.pid
limit 4;
