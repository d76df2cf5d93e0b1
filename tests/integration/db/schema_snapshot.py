"""What a database consists of, for comparison; the order of columns does not count, since migrations append theirs."""

from __future__ import annotations

from etl.db.connection import Connection

_OURS = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
_QUERIES = {
    "relation": f"""
        select format('%I.%I', n.nspname, c.relname), c.relkind::text, c.reloptions::text, c.relpersistence::text,
            pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid), obj_description(c.oid, 'pg_class'),
            case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end
        from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where {_OURS}
    """,
    "column": f"""
        select format('%I.%I.%I', n.nspname, c.relname, a.attname), format_type(a.atttypid, a.atttypmod), a.attnotnull,
            pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text,
            a.attcollation::regcollation::text,
            col_description(c.oid, a.attnum)
        from pg_attribute as a
        join pg_class as c on c.oid = a.attrelid and c.relkind in ('r', 'p', 'v', 'm')
        join pg_namespace as n on n.oid = c.relnamespace
        left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attnum > 0 and not a.attisdropped and {_OURS}
    """,
    "constraint": f"""
        select format('%I.%I', c.conrelid::regclass, c.conname), pg_get_constraintdef(c.oid), c.convalidated
        from pg_constraint as c join pg_namespace as n on n.oid = c.connamespace
        where {_OURS}
    """,
    "index": f"""
        select format('%I.%I', n.nspname, c.relname), pg_get_indexdef(i.indexrelid), i.indisvalid
        from pg_index as i
        join pg_class as c on c.oid = i.indexrelid
        join pg_namespace as n on n.oid = c.relnamespace
        where {_OURS}
    """,
    "trigger": f"""
        select format('%s.%I', c.oid::regclass, t.tgname), pg_get_triggerdef(t.oid), t.tgenabled::text
        from pg_trigger as t
        join pg_class as c on c.oid = t.tgrelid
        join pg_namespace as n on n.oid = c.relnamespace
        where not t.tgisinternal and {_OURS}
    """,
    "function": f"""
        select p.oid::regprocedure::text,
            case when p.proname like '%\\_as\\_of' then 'columns as in the table' else pg_get_functiondef(p.oid) end,
            obj_description(p.oid, 'pg_proc')
        from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
        where p.prokind in ('f', 'p') and {_OURS}
    """,
    "type": f"""
        select format('%I.%I', n.nspname, t.typname), t.typtype::text,
            (select string_agg(e.enumlabel, ',' order by e.enumsortorder) from pg_enum as e where e.enumtypid = t.oid)
        from pg_type as t join pg_namespace as n on n.oid = t.typnamespace
        where t.typtype in ('e', 'd', 'r') and {_OURS}
    """,
    "schema": f"select n.nspname, obj_description(n.oid, 'pg_namespace') from pg_namespace as n where {_OURS}",
}


def take_snapshot(db: Connection) -> dict[str, tuple[object, ...]]:
    """Return everything in the database: kind and name → properties."""
    return {
        f"{kind} {row[0]}": row[1:] for kind, query in _QUERIES.items() for row in db.execute(query.encode()).fetchall()
    }
