-- name: clear
-- Delete the rejects of a batch that have no id, before the same version stores its rejects again.
delete from etl.rejects
where raw_id = %(raw_id)s and entity = %(entity)s and version = %(version)s and record_id is null;

-- name: create_staging
-- The rejects of one batch, before they are compared with those that are open.
drop table if exists pg_temp.found_rejects;
create temp table found_rejects (like etl.rejects including defaults including identity) on commit drop;

-- name: copy
-- Rejects of one batch; there may be as many as it has records.
copy found_rejects (
    raw_id, entity, version, provider_account_id, line, path, rule, reason, record_id, replaces, observed_at
) from stdin;

-- name: insert_staged
-- One reject per record, however often it fails. What a later batch has closed stays closed.
insert into etl.rejects as target (
    raw_id, entity, version, provider_account_id, line, path, rule, reason, record_id, replaces, observed_at
)
select raw_id, entity, version, provider_account_id, line, path, rule, reason, record_id, replaces, observed_at
from (
    select distinct on (f.provider_account_id, coalesce(f.record_id, f.reject_id::text)) f.*
    from found_rejects as f
    order by f.provider_account_id, coalesce(f.record_id, f.reject_id::text), f.reject_id desc
) as f
where not exists (
    select 1
    from etl.rejects as c
    where
        c.entity = f.entity
        and c.provider_account_id = f.provider_account_id
        and c.record_id = f.record_id
        and c.closed_by > f.raw_id
)
order by f.reject_id
on conflict (entity, provider_account_id, record_id) where closed_at is null do update set
    raw_id = excluded.raw_id,
    version = excluded.version,
    line = excluded.line,
    path = excluded.path,
    rule = excluded.rule,
    reason = excluded.reason,
    replaces = excluded.replaces,
    observed_at = excluded.observed_at,
    failures = target.failures + 1
where target.raw_id <= excluded.raw_id;

-- name: close_missing
-- Close the rejects of a batch that were not found again when it was typed again.
update etl.rejects as target set closed_at = now()
where
    target.raw_id = %(raw_id)s
    and target.entity = %(entity)s
    and target.closed_at is null
    and target.record_id is not null
    and not exists (
        select 1
        from found_rejects as f
        where f.provider_account_id = target.provider_account_id and f.record_id = target.record_id
    );

-- name: count
-- Number of rejected records of one batch.
select count(*)::int as rejected
from etl.rejects as r
where r.raw_id = %(raw_id)s and r.entity = %(entity)s and r.version = %(version)s and r.closed_at is null;

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
    r.closed_at is null
    and (%(rule)s::text is null or r.rule = %(rule)s)
    and (%(raw_id)s::bigint is null or r.raw_id = %(raw_id)s)
order by r.reject_id desc
limit %(limit)s;

-- name: count_by_rule
-- Numbers of rejects of the current versions of some entities, by rule.
select r.entity, r.rule, count(*)::int as rejects
from etl.rejects as r
inner join unnest(%(entities)s::text[], %(versions)s::int[]) as e (entity, version) using (entity, version)
where
    r.closed_at is null
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
    and r.closed_at is null
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

-- name: close_loaded
-- Close the rejects of records of which the staged batch brought a later state, or the removal. Their times are bounded
-- as those of loaded records are, since the clocks of workers differ.
update etl.rejects as target set closed_at = now(), closed_by = %(raw_id)s
from etl.raw_batches as b, incoming as i
where
    target.entity = %(entity)s
    and target.closed_at is null
    and b.raw_id = target.raw_id
    and target.record_id = {record_id}
    and {same_login}
    and (i.observed_at, %(raw_id)s) > (
        least(greatest(target.observed_at, b.opened_at), b.sealed_at), target.raw_id
    );

-- name: open_of_batch
-- The open rejects of a batch that may be newer than the rows: not those of logins that were stale, nor those of a window
-- or snapshot that is older than what was loaded.
-- Their times are bounded and corrected as those of loaded records are.
select
    r.provider_account_id,
    r.record_id,
    greatest(
        least(greatest(r.observed_at, b.opened_at), b.sealed_at),
        (
            select max(k.observed_at)
            from etl.clock_corrections as k
            where k.raw_id = r.raw_id and k.provider_account_id = r.provider_account_id
        )
    ) as observed_at
from etl.rejects as r
inner join etl.raw_batches as b using (raw_id)
where
    r.raw_id = %(raw_id)s
    and r.entity = %(entity)s
    and r.closed_at is null
    and r.observed_at is not null
    and not exists (
        select 1
        from etl.left_out as l
        where
            l.chunk_id = b.chunk_id
            and l.attempt = b.attempt
            and l.provider_account_id = r.provider_account_id
            and l.outcome = 'stale'
    )
    and not exists (
        select 1
        from etl.cursors as c
        where
            c.provider_account_id = r.provider_account_id
            and c.feed = %(feed_of_window)s
            and c.told_at > r.observed_at
    )
    and not (
        %(is_snapshot)s
        and exists (
            select 1
            from etl.raw_batches as later
            inner join etl.chunks as c using (chunk_id)
            inner join etl.loads as l on l.raw_id = later.raw_id and l.entity = r.entity
            where
                later.source = b.source
                and later.raw_id > b.raw_id
                and r.provider_account_id >= c.start
                and r.provider_account_id < c.stop
        )
    );
