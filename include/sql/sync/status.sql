-- name: of_entity
-- When an entity was last loaded, and what of it waits: records that were rejected and that no later one has
-- replaced, fields that its current version left empty, logins that are held back, and full reads that need a decision.
select
    (
        select max(l.loaded_at)
        from etl.loads as l
        where l.entity = %(entity)s
    ) as loaded_at,
    (
        select count(*)
        from etl.rejects as r
        where r.entity = %(entity)s and r.closed_at is null
    ) as rejects,
    (
        select coalesce(sum(w.records), 0)::bigint
        from etl.field_warnings as w
        where
            w.entity = %(entity)s
            and w.version = %(version)s
            and w.warned_at >= %(warned_since)s
    ) as field_warnings,
    (
        select count(distinct q.provider_account_id)
        from etl.quarantines as q
        where q.entity = %(entity)s
    ) as quarantined_logins,
    (
        select count(*)
        from etl.reconciliations as r
        where r.entity = %(entity)s and r.state = 'pending'
    ) as pending_reconciliations;

-- name: estimate_rows
-- Rows of a table and its partitions as of their last `analyze`, since counting 1.5 TB would take hours. The result is
-- negative if a partition was never analyzed, and null if there is no such table yet.
select
    case
        when to_regclass(%(relation)s) is not null
            then coalesce(sum(case when c.reltuples < 0 then -1e15 else c.reltuples end), -1)::bigint
    end as rows
from pg_partition_tree(to_regclass(%(relation)s)) as t
inner join pg_class as c on c.oid = t.relid
where t.isleaf;

-- name: pages_per_account
-- Average number of pages of an account in the latest downloads; null before the first download.
select sum(latest.pages)::float / nullif(sum(latest.accounts), 0) as pages
from (
    select r.pages, r.accounts
    from etl.raw_batches as r
    where r.source = %(source)s
    order by r.raw_id desc
    limit 200
) as latest;
