-- name: begin
-- The instant from which the rejects of this transformation count, by the same clock that dates them.
select clock_timestamp();

-- name: upsert
-- A record that was rejected before stays one reject, with what was found last. The same batch, typed again, is no
-- further failure; an older one, replayed, says nothing new.
-- A reject that a later batch closed is not opened again: its record is loaded by now.
insert into etl.rejects as target (
    raw_id,
    entity,
    version,
    provider_account_id,
    record_id,
    replaces,
    observed_at,
    line,
    path,
    rule,
    reason,
    rejected_at
)
select
    %(raw_id)s,
    %(entity)s,
    %(version)s,
    f.provider_account_id,
    f.record_id,
    f.replaces,
    f.observed_at,
    f.line,
    f.path,
    f.rule,
    f.reason,
    clock_timestamp()
from unnest(
    %(provider_account_ids)s::bigint[],
    %(record_ids)s::text[],
    %(replaced)s::text[],
    %(observed_at)s::timestamptz[],
    %(lines)s::int[],
    %(paths)s::text[],
    %(rules)s::text[],
    %(reasons)s::text[]
) as f (provider_account_id, record_id, replaces, observed_at, line, path, rule, reason)
where
    not exists (
        select 1
        from etl.rejects as r
        where
            r.entity = %(entity)s
            and r.provider_account_id = f.provider_account_id
            and r.record_id = f.record_id
            and r.closed_by > %(raw_id)s
    )
order by f.provider_account_id, f.record_id
on conflict (entity, provider_account_id, record_id) where closed_at is null do update set
    raw_id = excluded.raw_id,
    version = excluded.version,
    replaces = excluded.replaces,
    observed_at = excluded.observed_at,
    line = excluded.line,
    path = excluded.path,
    rule = excluded.rule,
    reason = excluded.reason,
    rejected_at = excluded.rejected_at,
    failures = target.failures + (excluded.raw_id > target.raw_id)::int
where excluded.raw_id >= target.raw_id;

-- name: close_missing
-- Close the rejects of a batch that the transformation which has just ended did not find any more.
update etl.rejects set
    closed_at = now(),
    closed_by = raw_id
where raw_id = %(raw_id)s and entity = %(entity)s and closed_at is null and rejected_at < %(begun_at)s;

-- name: latest
-- The latest rejects of some entities. A record has one, however often it failed.
select
    r.reject_id,
    r.raw_id,
    r.entity,
    r.version,
    r.provider_account_id,
    r.record_id,
    r.line,
    r.path,
    r.rule,
    r.reason,
    r.rejected_at,
    r.first_rejected_at,
    r.failures,
    r.closed_at
from etl.rejects as r
where
    r.entity = any(%(entities)s)
    and (r.closed_at is not null) = %(closed)s
    and (%(rule)s::text is null or r.rule = %(rule)s)
    and (%(raw_id)s::bigint is null or r.raw_id = %(raw_id)s)
order by r.rejected_at desc, r.reject_id desc
limit %(limit)s;

-- name: count_by_rule
-- Numbers of rejects of some entities, by rule.
select r.entity, r.rule, count(*)::int as rejects
from etl.rejects as r
where
    r.entity = any(%(entities)s)
    and (r.closed_at is not null) = %(closed)s
    and (%(rule)s::text is null or r.rule = %(rule)s)
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
    r.record_id,
    r.line,
    r.path,
    r.rule,
    r.reason,
    r.rejected_at,
    r.first_rejected_at,
    r.failures,
    r.closed_at
from etl.rejects as r
where r.reject_id = %(reject_id)s;

-- name: replayable_batches
-- Batches with open rejects, which the current declaration may be able to load.
select distinct r.raw_id
from etl.rejects as r
inner join etl.raw_batches as b on b.raw_id = r.raw_id and b.purged_at is null
where r.entity = %(entity)s and r.closed_at is null and (%(raw_id)s::bigint is null or r.raw_id = %(raw_id)s)
order by r.raw_id;
