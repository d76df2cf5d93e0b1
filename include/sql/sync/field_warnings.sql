-- name: clear
-- Delete the warnings of a batch, of whichever version, before they are stored again.
delete from etl.field_warnings
where raw_id = %(raw_id)s and entity = %(entity)s;

-- name: store
-- Warnings of one batch, by login, path and rule. Who types the same batch at the same time stores the same: the second
-- waits for the first, in the order of the key. A lock for each batch would fill the lock table of a transaction that types
-- a long archive.
insert into etl.field_warnings (raw_id, entity, version, provider_account_id, path, rule, records, line, found)
select
    %(raw_id)s,
    %(entity)s,
    %(version)s,
    c.provider_account_id,
    c.path,
    c.rule,
    c.records,
    c.line,
    c.found
from unnest(
    %(provider_account_ids)s::bigint[],
    %(paths)s::text[],
    %(rules)s::text[],
    %(records)s::int[],
    %(lines)s::int[],
    %(found)s::text[]
) as c (provider_account_id, path, rule, records, line, found)
on conflict (raw_id, entity, version, provider_account_id, path, rule) do update set
    records = excluded.records,
    line = excluded.line,
    found = excluded.found;

-- name: summaries
-- Bad fields of some entities in one batch, or of the last time, the most frequent first, each with the latest example.
select
    w.entity,
    w.path,
    w.rule,
    sum(w.records)::bigint as records,
    count(distinct w.provider_account_id)::int as logins,
    max(w.raw_id) as raw_id,
    (array_agg(w.found order by w.raw_id desc, w.line))[1] as found
from etl.field_warnings as w
where
    w.entity = any(%(entities)s)
    and case
        when %(raw_id)s::bigint is null then w.warned_at >= now() - %(summarized_for)s::interval
        else w.raw_id = %(raw_id)s
    end
group by w.entity, w.path, w.rule
order by records desc, w.entity, w.path, w.rule
limit %(limit)s;

-- name: count_of_run
-- Bad fields of a run. A chunk with a page size has raw batches of its own; one without is a range of raw batches of
-- another entity, whose warnings count if they were made since the chunk was planned. Each branch finds warnings by their
-- raw batch: the table has those of all runs.
select coalesce(sum(f.records), 0)::int as field_warnings
from (
    select w.records
    from etl.chunks as c
    inner join etl.raw_batches as b on b.chunk_id = c.chunk_id
    inner join etl.field_warnings as w on w.raw_id = b.raw_id and w.entity = c.entity
    where c.entity = %(entity)s and c.run_id = %(run_id)s and c.withdrawn_at is null and c.page_size > 0
    union all
    select w.records
    from etl.chunks as c
    inner join etl.field_warnings as w on w.raw_id >= c.start and w.raw_id < c.stop and w.entity = c.entity
    where
        c.entity = %(entity)s
        and c.run_id = %(run_id)s
        and c.withdrawn_at is null
        and c.page_size = 0
        and w.warned_at >= c.planned_at
) as f;
