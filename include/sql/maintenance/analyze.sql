-- name: stale_tables
-- Partitioned tables that have no statistics of the whole table, or whose statistics are older than autovacuum's last analyze
-- of a partition. Autovacuum analyzes partitions, but never the partitioned table as a whole.
select n.nspname, c.relname
from pg_class as c
inner join pg_namespace as n on n.oid = c.relnamespace
inner join pg_stat_all_tables as whole on whole.relid = c.oid
where
    c.relkind = 'p'
    and not c.relispartition
    and n.nspname = any(%(schemas)s)
    and exists (
        select 1
        from pg_partition_tree(c.oid) as t
        inner join pg_stat_all_tables as part on part.relid = t.relid
        where
            t.isleaf
            and case
                when whole.last_analyze is null then part.n_live_tup > 0
                else part.last_autoanalyze > whole.last_analyze
            end
    )
order by n.nspname, c.relname;
