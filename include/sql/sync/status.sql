-- name: of_entity
-- When an entity was last loaded, and how many of its records are rejected, each counted once until it is loaded.
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
    ) as rejects;

-- name: estimate_rows
-- Rows of a table and its partitions as of their last `analyze`, since counting 1.5 TB would take hours. The result is
-- negative if a partition was never analyzed.
select coalesce(sum(case when c.reltuples < 0 then -1e15 else c.reltuples end), -1)::bigint as rows
from pg_partition_tree(%(relation)s::regclass) as t
inner join pg_class as c on c.oid = t.relid
where t.isleaf;

-- name: accounts_by_state
-- Provider accounts by state.
select p.state, count(*) as accounts
from core.provider_accounts as p
group by p.state
order by p.state;

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
