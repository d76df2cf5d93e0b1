-- name: list_statuses
-- The latest runs, with the summed counters of their chunks.
select
    r.run_id,
    n.name as notice,
    r.period,
    r.state,
    r.reason,
    r.pace,
    r.recipients,
    r.planned_at,
    r.ended_at,
    r.expires_at,
    c.sent,
    c.failed,
    c.unknown,
    c.deferred
from notify.runs as r
inner join notify.notices as n using (notice_id)
cross join lateral (
    select
        coalesce(sum(k.sent), 0)::bigint as sent,
        coalesce(sum(k.failed), 0)::bigint as failed,
        coalesce(sum(k.unknown), 0)::bigint as unknown,
        coalesce(sum(k.deferred), 0)::bigint as deferred
    from notify.chunks as k
    where k.run_id = r.run_id
) as c
where %(run_id)s::int is null or r.run_id = %(run_id)s
order by r.run_id desc
limit %(limit)s;

-- name: recent_sends
-- Messages of the pages that ended recently, and the seconds that they took. A chunk stores the ends of its last 32 pages: the time measured
-- starts no earlier than the oldest page of any chunk that has that many.
with chunks as (
    select c.page_ends, c.page_sizes
    from notify.chunks as c
    where c.run_id = %(run_id)s
),
since as (
    select
        greatest(
            clock_timestamp() - %(window)s,
            max(r.planned_at),
            max(c.page_ends[1]) filter (where cardinality(c.page_ends) = 32)
        ) as started_at
    from notify.runs as r
    cross join chunks as c
    where r.run_id = %(run_id)s
)
select
    coalesce(sum(p.messages) filter (where p.ended_at > s.started_at), 0)::bigint as messages,
    extract(epoch from clock_timestamp() - s.started_at)::double precision as seconds
from since as s
left join (
    select u.ended_at, u.messages
    from chunks as c, unnest(c.page_ends, c.page_sizes) as u (ended_at, messages)
) as p on true
where s.started_at is not null
group by s.started_at;
