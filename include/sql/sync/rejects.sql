-- name: clear
-- Delete the rejects of a batch before the same version stores its rejects again.
delete from etl.rejects
where raw_id = %(raw_id)s and entity = %(entity)s and version = %(version)s;

-- name: copy
-- Rejects of one batch; there may be as many as it has records.
copy etl.rejects (raw_id, entity, version, provider_account_id, line, path, rule, reason) from stdin;

-- name: count
-- Number of rejected records of one batch.
select count(*)::int as rejected
from etl.rejects as r
where r.raw_id = %(raw_id)s and r.entity = %(entity)s and r.version = %(version)s;

-- name: latest
-- The latest rejects of the current versions of some entities; rejects of replaced versions are history.
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
-- Numbers of rejects of the current versions of some entities, by rule.
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
-- Batches whose rejects this version may be able to load: its own rejects, and those of other versions if this version
-- has not loaded the batch.
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
