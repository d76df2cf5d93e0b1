-- name: drop_table
-- A transaction that loads several batches stages the rejects of one after the other.
drop table if exists pg_temp.incoming_rejects;

-- name: create_table
-- The rejects of the logins of a batch that are being judged, in the order of the typed batch.
create temp table incoming_rejects (
    ordinal bigint not null,
    provider_account_id bigint not null,
    record_id text not null,
    replaces text,
    observed_at timestamptz not null,
    line int not null,
    path text not null,
    rule text not null,
    reason text not null
) on commit drop;

-- name: copy
-- Each row of a typed batch's rejects, with its ordinal.
copy incoming_rejects (ordinal, provider_account_id, record_id, replaces, observed_at, line, path, rule, reason)
from stdin (format binary);

-- name: drop_outdated
-- Drop the rejects of a window or snapshot that is older than what was loaded: a later state of these records is known.
-- Their times are bounded as those of loaded records are, since the clocks of workers differ.
delete from incoming_rejects as i
using etl.raw_batches as b
where
    b.raw_id = %(raw_id)s
    and (
        exists (
            select 1
            from etl.cursors as c
            where
                c.provider_account_id = i.provider_account_id
                and c.feed = %(feed_of_window)s
                and c.told_at > least(greatest(i.observed_at, b.opened_at), b.sealed_at)
        )
        or exists (
            select 1
            from unnest(%(snapshot_logins)s::bigint[], %(snapshots_sealed_at)s::timestamptz[]) as s (login, sealed_at)
            where
                s.login = i.provider_account_id
                and s.sealed_at > least(greatest(i.observed_at, b.opened_at), b.sealed_at)
        )
    );

-- name: upsert
-- A record that was rejected before stays one reject, with what was found last. The same batch, loaded again, is no
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
select distinct on (i.provider_account_id, i.record_id)
    %(raw_id)s,
    %(entity)s,
    %(version)s,
    i.provider_account_id,
    i.record_id,
    i.replaces,
    i.observed_at,
    i.line,
    i.path,
    i.rule,
    i.reason,
    clock_timestamp()
from incoming_rejects as i
where
    not exists (
        select 1
        from etl.rejects as r
        where
            r.entity = %(entity)s
            and r.provider_account_id = i.provider_account_id
            and r.record_id = i.record_id
            and r.closed_by > %(raw_id)s
        offset 0
    )
order by i.provider_account_id, i.record_id, i.line desc, i.ordinal desc
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
-- Close the rejects of a batch that it does not have any more, as it is typed now.
update etl.rejects as r set
    closed_at = now(),
    closed_by = r.raw_id
where
    r.raw_id = %(raw_id)s
    and r.entity = %(entity)s
    and r.closed_at is null
    and r.provider_account_id = any(%(provider_account_ids)s)
    and not exists (
        select 1
        from incoming_rejects as i
        where i.provider_account_id = r.provider_account_id and i.record_id = r.record_id
    );

-- name: close_of_logins
-- Close the rejects of a batch in which logins are stale: the batch that moved their cursors brought the same records, and
-- has its own rejects.
update etl.rejects as r set
    closed_at = now(),
    closed_by = r.raw_id
where
    r.raw_id = %(raw_id)s
    and r.entity = %(entity)s
    and r.closed_at is null
    and r.provider_account_id = any(%(provider_account_ids)s);

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
from incoming as i
where
    target.entity = %(entity)s
    and target.closed_at is null
    and target.record_id = {record_id}
    and {same_login}
    and (i.observed_at, %(raw_id)s) > (
        (
            select least(greatest(target.observed_at, b.opened_at), b.sealed_at)
            from etl.raw_batches as b
            where b.raw_id = target.raw_id
        ),
        target.raw_id
    );

-- name: open_of_batch
-- The open rejects of a batch that may be newer than the rows: not those of logins that were stale, nor those of a window
-- or snapshot that is older than what was loaded.
-- Their times are bounded and corrected as those of loaded records are.
select
    r.provider_account_id,
    r.record_id,
    greatest(
        bounded.observed_at,
        (
            select max(k.observed_at)
            from etl.clock_corrections as k
            where k.raw_id = r.raw_id and k.provider_account_id = r.provider_account_id
        )
    ) as observed_at
from etl.rejects as r
inner join etl.raw_batches as b using (raw_id)
cross join lateral (
    select least(greatest(r.observed_at, b.opened_at), b.sealed_at) as observed_at
) as bounded
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
            and c.told_at > bounded.observed_at
    )
    and not exists (
        select 1
        from unnest(%(snapshot_logins)s::bigint[], %(snapshots_sealed_at)s::timestamptz[]) as s (login, sealed_at)
        where s.login = r.provider_account_id and s.sealed_at > bounded.observed_at
    );
