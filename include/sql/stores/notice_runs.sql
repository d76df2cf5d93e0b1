-- name: notice
-- The number of a notice; the first run gives it one. The update is what makes it return an old one.
insert into notify.notices as kept (name)
values (%(notice)s)
on conflict (name) do update set name = excluded.name
returning kept.notice_id;

-- name: add
-- One run a period: whoever comes second gets no row, and finds the first.
insert into notify.runs (notice_id, period, trigger, as_of, expires_at, parameters, pace)
values (%(notice_id)s, %(period)s, %(trigger)s, %(as_of)s, %(expires_at)s, %(parameters)s, %(pace)s)
on conflict (notice_id, period) do nothing
returning run_id;

-- name: find
-- What was frozen, and what may change.
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
    ) as announced
from notify.runs as r
inner join notify.notices as n using (notice_id)
where r.run_id = %(run_id)s;

-- name: of_period
-- The run of a period, if it was planned already.
select r.run_id
from notify.runs as r
inner join notify.notices as n using (notice_id)
where n.name = %(notice)s and r.period = %(period)s;

-- name: cut
-- Cuts by the rank of a recipient and not by its id, so that gaps in the ids do not make chunks uneven. No id leaves the database.
with audience as materialized ({bounds}),
size as (
    select
        count(*) as recipients,
        least(ceil(count(*) / %(chunk_size)s::numeric), %(max_chunks)s)::int as chunks
    from audience
),
tiles as (
    select
        a.position,
        ntile((select greatest(s.chunks, 1) from size as s)) over (order by a.position) - 1 as ordinal
    from audience as a
)
insert into notify.chunks as made (run_id, ordinal, start, stop, recipients, position)
select
    %(run_id)s,
    t.ordinal,
    min(t.position),
    max(t.position) + 1,
    count(*),
    min(t.position) - 1
from tiles as t
group by t.ordinal
order by t.ordinal
returning made.ordinal, made.recipients;

-- name: planned
-- A run of nobody is done at once.
update notify.runs
set
    recipients = %(recipients)s,
    state = case when %(recipients)s = 0 then 'done' else state end,
    ended_at = case when %(recipients)s = 0 then now() end
where run_id = %(run_id)s;

-- name: unfinished
-- What is still to be sent of a run.
select c.ordinal
from notify.chunks as c
where c.run_id = %(run_id)s and c.finished_at is null
order by c.ordinal;

-- name: chunk
-- A chunk as it stands.
select c.run_id, c.ordinal, c.start, c.stop, c.recipients, c.position, c.attempt, c.finished_at, c.walked_to, c.reopened_at, c.page_limit
from notify.chunks as c
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s;

-- name: open_attempt
-- Only whoever holds the chunk's lock may do this. What an attempt before claimed and never confirmed is in doubt: its worker was killed
-- between two lines that nobody can tell apart from outside. Such rows lie among those of the page that was claimed last.
with chunk as (
    select c.run_id, c.ordinal, c.claimed_from, c.claimed_to
    from notify.chunks as c
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
),
doubted as (
    update notify.deliveries as d
    set
        state = 'unknown',
        doubts = d.doubts + 1,
        ended_at = now(),
        error_class = 'killed'
    from chunk as c
    where
        d.delivery_id between c.claimed_from and c.claimed_to
        and d.run_id = c.run_id
        and d.ordinal = c.ordinal
        and d.state = 'claimed'
    returning d.delivery_id
)
update notify.chunks as c
set
    attempt = c.attempt + 1,
    unknown = c.unknown + (select count(*) from doubted),
    page_limit = case when exists (select 1 from doubted) then greatest(c.page_limit / 2, 1) else c.page_limit end
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
returning c.run_id, c.ordinal, c.start, c.stop, c.recipients, c.position, c.attempt, c.finished_at, c.walked_to, c.reopened_at, c.page_limit;

-- name: halve
-- A page of this size does not fit into the memory of a task. Where deliveries stayed claimed, the next attempt says so itself.
update notify.chunks as c
set page_limit = greatest(c.page_limit / 2, 1)
where
    c.run_id = %(run_id)s
    and c.ordinal = %(ordinal)s
    and not exists (
        select 1
        from notify.deliveries as d
        where
            d.delivery_id between c.claimed_from and c.claimed_to
            and d.run_id = c.run_id
            and d.ordinal = c.ordinal
            and d.state = 'claimed'
    );

-- name: stall
-- The server took nothing of a page.
update notify.chunks as c
set stalls = c.stalls + 1
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
returning c.stalls;

-- name: finish
-- The chunk has been walked to its end. What was reopened and met no recipient has none any more: nobody would ever try it again.
with chunk as (
    select c.run_id, c.ordinal, c.first_id, c.last_id
    from notify.chunks as c
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s and c.reopened > 0
),
gone as (
    update notify.deliveries as d
    set
        state = 'failed',
        ended_at = now(),
        error_class = 'not_in_audience',
        error = null
    from chunk as c
    where
        d.delivery_id between c.first_id and c.last_id
        and d.run_id = c.run_id
        and d.ordinal = c.ordinal
        and d.state = 'reopened'
    returning d.delivery_id
),
explained as (
    insert into notify.failures as kept (run_id, ordinal, error_class, deliveries)
    select %(run_id)s, %(ordinal)s, 'not_in_audience', count(*)
    from gone
    having count(*) > 0
    on conflict (run_id, ordinal, error_class) do update set deliveries = kept.deliveries + excluded.deliveries
)
update notify.chunks as c
set
    finished_at = now(),
    failed = c.failed + (select count(*) from gone),
    reopened = c.reopened - (select count(*) from gone)
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s;

-- name: lock
-- Of two that finish the last chunks of a run at the same time, the second must see the first.
select r.run_id
from notify.runs as r
where r.run_id = %(run_id)s
for update;

-- name: end
-- A run is done when nothing of it is left to be sent.
update notify.runs as r
set
    state = 'done',
    ended_at = now()
where
    r.run_id = %(run_id)s
    and r.state in ('running', 'paused')
    and not exists (
        select 1
        from notify.chunks as c
        where c.run_id = r.run_id and c.finished_at is null
    );

-- name: steer
-- What a person may change while a run goes on; nothing, once it has ended.
update notify.runs as r
set
    pace = coalesce(%(pace)s, r.pace),
    state = coalesce(%(state)s, r.state),
    ended_at = case when %(state)s = 'cancelled' then now() end
where r.run_id = %(run_id)s and r.state in ('running', 'paused')
returning r.run_id;

-- name: totals
-- Sums of the chunks; the ledger itself is not read.
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
    coalesce(sum(c.reopened), 0)::bigint as reopened,
    coalesce(sum(c.unreachable), 0)::bigint as unreachable,
    coalesce(sum(c.repeated), 0)::bigint as repeated
from notify.chunks as c
where c.run_id = %(run_id)s;
