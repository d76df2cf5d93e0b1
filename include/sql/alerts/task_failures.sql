-- name: save
-- The last failure of a task replaces that of an earlier attempt.
insert into etl.failures (dag_id, run_id, task_id, map_index, attempt, error_type, message)
values (%(dag_id)s, %(run_id)s, %(task_id)s, %(map_index)s, %(attempt)s, %(error_type)s, %(message)s)
on conflict (dag_id, run_id, task_id, map_index) do update set
    attempt = excluded.attempt,
    error_type = excluded.error_type,
    message = excluded.message,
    failed_at = now();

-- name: of_run
-- Failures of a run's tasks, the earliest first.
select f.task_id, f.map_index, f.attempt, f.error_type, f.message
from etl.failures as f
where f.dag_id = %(dag_id)s and f.run_id = %(run_id)s
order by f.failed_at, f.task_id, f.map_index
limit %(limit)s;

-- name: count_rejects
-- Rejected records of a run that were not loaded since, by the rule that they broke. A chunk with a page size has raw batches of its own; one without is a
-- range of raw batches of another entity, whose rejects count if they were made since the chunk was planned.
select r.rule, count(*)::int as rejects
from etl.rejects as r
inner join etl.raw_batches as b on b.raw_id = r.raw_id
where
    r.entity = %(entity)s
    and r.closed_at is null
    and exists (
        select 1
        from etl.chunks as c
        where
            c.entity = %(entity)s
            and c.run_id = %(run_id)s
            and c.withdrawn_at is null
            and (
                (c.page_size > 0 and c.chunk_id = b.chunk_id)
                or (c.page_size = 0 and r.raw_id >= c.start and r.raw_id < c.stop and r.rejected_at >= c.planned_at)
            )
    )
group by r.rule
order by rejects desc, r.rule
limit %(limit)s;
