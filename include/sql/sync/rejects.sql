-- name: clear
-- A batch that is typed again by the same version gives its rejects anew.
delete from etl.rejects
where raw_id = %(raw_id)s and entity = %(entity)s and version = %(version)s;

-- name: copy
-- Rejects of one batch; there may be as many as records.
copy etl.rejects (raw_id, entity, version, provider_account_id, line, path, rule, reason) from stdin;

-- name: count
-- Rejected records of one batch.
select count(*)::int as rejected
from etl.rejects as r
where r.raw_id = %(raw_id)s and r.entity = %(entity)s and r.version = %(version)s;

-- name: latest
-- What an operator looks at first; versions that were replaced are history.
select
    r.reject_id,
    r.raw_id,
    r.entity,
    r.version,
    r.provider_account_id,
    r.line,
    r.path,
    r.rule,
    r.reason,
    r.rejected_at
from etl.rejects as r
inner join unnest(%(entities)s::text[], %(versions)s::int[]) as e (entity, version) using (entity, version)
where
    (%(rule)s::text is null or r.rule = %(rule)s)
    and (%(raw_id)s::bigint is null or r.raw_id = %(raw_id)s)
order by r.reject_id desc
limit %(limit)s;

-- name: count_by_rule
-- How many there are, by what is wrong with them.
select r.entity, r.rule, count(*)::int as rejects
from etl.rejects as r
inner join unnest(%(entities)s::text[], %(versions)s::int[]) as e (entity, version) using (entity, version)
where
    (%(rule)s::text is null or r.rule = %(rule)s)
    and (%(raw_id)s::bigint is null or r.raw_id = %(raw_id)s)
group by r.entity, r.rule
order by rejects desc, r.entity, r.rule;

-- name: find
-- One reject.
select
    r.reject_id,
    r.raw_id,
    r.entity,
    r.version,
    r.provider_account_id,
    r.line,
    r.path,
    r.rule,
    r.reason,
    r.rejected_at
from etl.rejects as r
where r.reject_id = %(reject_id)s;

-- name: replayable_batches
-- Batches whose rejects may fit now: rejected by this version, or by an earlier one whose batch this one has not read.
select distinct r.raw_id
from etl.rejects as r
inner join etl.raw_batches as b on b.raw_id = r.raw_id and b.purged_at is null
where
    r.entity = %(entity)s
    and (%(raw_id)s::bigint is null or r.raw_id = %(raw_id)s)
    and (
        r.version = %(version)s
        or not exists (
            select 1
            from etl.loads as l
            where l.raw_id = r.raw_id and l.entity = r.entity and l.version = %(version)s
        )
    )
order by r.raw_id;
