-- name: plan
-- Chunks are divided by the rank of a position and not by its value, so that gaps do not make them uneven. No id leaves the database.
with audience as materialized ({bounds}),
size as (
    select
        count(*) as recipients,
        least(ceil(count(*) / %(chunk_size)s::numeric), %(max_chunks)s)::int as chunks
    from audience
),
numbered as (
    select
        a.position,
        ntile((select greatest(s.chunks, 1) from size as s)) over (order by a.position) - 1 as ordinal
    from audience as a
)
insert into notify.chunks as target (run_id, ordinal, start, stop, recipients, position)
select
    %(run_id)s,
    n.ordinal,
    min(n.position),
    max(n.position) + 1,
    count(*),
    min(n.position) - 1
from numbered as n
group by n.ordinal
order by n.ordinal
returning target.ordinal, target.recipients;

-- name: finish_planning
-- Set the number of recipients; a run without recipients is done at once.
update notify.runs
set
    recipients = %(recipients)s,
    state = case when %(recipients)s = 0 then 'done' else state end,
    ended_at = case when %(recipients)s = 0 then now() end
where run_id = %(run_id)s;

-- name: list_unfinished
-- Chunks of a run that are not finished.
select c.ordinal
from notify.chunks as c
where c.run_id = %(run_id)s and c.finished_at is null
order by c.ordinal;

-- name: find
-- One chunk in its current state.
select c.run_id, c.ordinal, c.start, c.stop, c.recipients, c.position, c.attempt, c.finished_at, c.walked_to, c.reopened_at, c.page_limit
from notify.chunks as c
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s;

-- name: start_attempt
-- The caller must hold the chunk's lock. Rows that are still `claimed` become `unknown`: the worker of an earlier attempt was killed, and
-- whether before or after the message was sent cannot be known. They are all among the rows of the page that was claimed last.
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
-- A page of this size does not fit into the memory of a task. Skipped if deliveries stayed `claimed`: `start_attempt` then halves the limit.
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

-- name: double_page_size
-- Pages of this size were sent without a death: one kill, such as that of a machine, must not make a chunk of hours slow to its end.
update notify.chunks as c
set page_limit = least(c.page_limit * 2, %(max_page)s)
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
returning c.page_limit;

-- name: count_stall
-- The server accepted no message of a page.
update notify.chunks as c
set stalls = c.stalls + 1
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
returning c.stalls;

-- name: finish
-- All pages of the chunk have ended. Deliveries that are still `reopened` belong to users who have left the audience; they fail, since no
-- later attempt would find them either.
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
    insert into notify.failures as target (run_id, ordinal, error_class, deliveries)
    select %(run_id)s, %(ordinal)s, 'not_in_audience', count(*)
    from missing_recipients
    having count(*) > 0
    on conflict (run_id, ordinal, error_class) do update set deliveries = target.deliveries + excluded.deliveries
)
update notify.chunks as c
set
    finished_at = now(),
    failed = c.failed + (select count(*) from missing_recipients),
    reopened = c.reopened - (select count(*) from missing_recipients)
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s;

-- name: lock_run
-- Serializes tasks that finish the last chunks of a run at the same time, so that the last of them sees that all others are finished.
select r.run_id
from notify.runs as r
where r.run_id = %(run_id)s
for update;

-- name: end_run
-- A run is done when all its chunks are finished.
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
