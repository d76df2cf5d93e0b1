-- name: plan
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
insert into notify.chunks as inserted (run_id, ordinal, start, stop, recipients, position)
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
returning inserted.ordinal, inserted.recipients;

-- name: finish_planning
-- A run of nobody is done at once.
update notify.runs
set
    recipients = %(recipients)s,
    state = case when %(recipients)s = 0 then 'done' else state end,
    ended_at = case when %(recipients)s = 0 then now() end
where run_id = %(run_id)s;

-- name: list_unfinished
-- What is still to be sent of a run.
select c.ordinal
from notify.chunks as c
where c.run_id = %(run_id)s and c.finished_at is null
order by c.ordinal;

-- name: find
-- A chunk as it stands.
select c.run_id, c.ordinal, c.start, c.stop, c.recipients, c.position, c.attempt, c.finished_at, c.walked_to, c.reopened_at, c.page_limit
from notify.chunks as c
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s;

-- name: start_attempt
-- Only whoever holds the chunk's lock may do this. What an attempt before claimed and never confirmed is in doubt: its worker was killed
-- between two lines that nobody can tell apart from outside. Such rows lie among those of the page that was claimed last.
with chunk as (
    select c.run_id, c.ordinal, c.claimed_from, c.claimed_to
    from notify.chunks as c
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
),
marked_unknown as (
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
    unknown = c.unknown + (select count(*) from marked_unknown),
    page_limit = case when exists (select 1 from marked_unknown) then greatest(c.page_limit / 2, 1) else c.page_limit end
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
returning c.run_id, c.ordinal, c.start, c.stop, c.recipients, c.position, c.attempt, c.finished_at, c.walked_to, c.reopened_at, c.page_limit;

-- name: halve_page_size
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

-- name: count_stall
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
missing_recipients as (
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
counted_failures as (
    insert into notify.failures as kept (run_id, ordinal, error_class, deliveries)
    select %(run_id)s, %(ordinal)s, 'not_in_audience', count(*)
    from missing_recipients
    having count(*) > 0
    on conflict (run_id, ordinal, error_class) do update set deliveries = kept.deliveries + excluded.deliveries
)
update notify.chunks as c
set
    finished_at = now(),
    failed = c.failed + (select count(*) from missing_recipients),
    reopened = c.reopened - (select count(*) from missing_recipients)
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s;

-- name: lock_run
-- Of two that finish the last chunks of a run at the same time, the second must see the first.
select r.run_id
from notify.runs as r
where r.run_id = %(run_id)s
for update;

-- name: end_run
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
