-- name: columns
-- The columns of a core table; none if there is no such table.
select
    a.attname as name,
    format_type(a.atttypid, a.atttypmod) as type,
    a.attnotnull as is_required,
    a.atthasdef or a.attidentity <> '' as has_default,
    coalesce(col_description(a.attrelid, a.attnum), '') as comment
from pg_attribute as a
where a.attrelid = to_regclass(%(table)s) and a.attnum > 0 and not a.attisdropped
order by a.attnum;

-- name: key
-- The columns of its primary key, in their order.
select a.attname
from pg_index as i
cross join unnest(i.indkey) with ordinality as k (attnum, ordinal)
inner join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
where i.indrelid = to_regclass(%(table)s) and i.indisprimary
order by k.ordinal;

-- name: properties
-- Its comment, whether it checks references, by triggers or by foreign keys, and whether it keeps versions of its rows.
select
    coalesce(obj_description(to_regclass(%(table)s)), '') as comment,
    exists (
        select 1
        from pg_trigger as t
        where t.tgrelid = to_regclass(%(table)s) and t.tgname in ('refers_when_inserted', 'refers_when_updated')
    )
    or exists (
        select 1
        from pg_constraint as c
        where c.conrelid = to_regclass(%(table)s) and c.contype = 'f'
    ) as checks_references,
    exists (
        select 1
        from pg_trigger as t
        where t.tgrelid = to_regclass(%(table)s) and t.tgname = 'keeps_superseded'
    ) as keeps_history;

-- name: views_of_column
-- Views that show a column, whose type cannot change while they exist.
select distinct r.ev_class::regclass::text as view
from pg_depend as d
inner join pg_rewrite as r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
inner join pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where d.refclassid = 'pg_class'::regclass and d.refobjid = to_regclass(%(table)s) and a.attname = %(column)s
order by 1;
