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
