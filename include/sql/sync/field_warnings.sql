-- name: clear
-- Delete the warnings of a batch, of whichever version, before they are stored again.
delete from etl.field_warnings
where raw_id = %(raw_id)s and entity = %(entity)s;

-- name: copy
-- Warnings of one batch, by login, path and rule.
copy etl.field_warnings (
    raw_id, entity, version, provider_account_id, path, rule, records, line, found
) from stdin;

-- name: summaries
-- Bad fields of some entities over all batches, the most frequent first, each with the latest example.
select
    w.entity,
    w.path,
    w.rule,
    sum(w.records)::bigint as records,
    count(distinct w.provider_account_id)::int as logins,
    max(w.raw_id) as raw_id,
    (array_agg(w.found order by w.raw_id desc, w.line))[1] as found
from etl.field_warnings as w
where w.entity = any(%(entities)s) and (%(raw_id)s::bigint is null or w.raw_id = %(raw_id)s)
group by w.entity, w.path, w.rule
order by records desc, w.entity, w.path, w.rule
limit %(limit)s;

-- name: count_of_run
-- Bad fields of a run. A chunk with a page size has raw batches of its own; one without is a range of raw batches of
-- another entity, whose warnings count if they were made since the chunk was planned.
select coalesce(sum(w.records), 0)::int as field_warnings
from etl.field_warnings as w
inner join etl.raw_batches as b on b.raw_id = w.raw_id
where
    w.entity = %(entity)s
    and exists (
        select 1
        from etl.chunks as c
        where
            c.entity = %(entity)s
            and c.run_id = %(run_id)s
            and c.withdrawn_at is null
            and (
                (c.page_size > 0 and c.chunk_id = b.chunk_id)
                or (c.page_size = 0 and w.raw_id >= c.start and w.raw_id < c.stop and w.warned_at >= c.planned_at)
            )
    );
