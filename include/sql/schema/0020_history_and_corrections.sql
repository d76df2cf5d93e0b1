-- Superseded versions of rows are kept, for entities that declare `history`; and what users correct outranks what the
-- provider sends.

create function core.keep_superseded() returns trigger
language plpgsql
-- Old versions are looked up by key, however the statement is planned that supersedes rows: a merge that reads rows at
-- once allows itself no nested loops, and whole histories would be read in their place.
set enable_nestloop = on
set enable_seqscan = off
as $$
declare
    history_table constant regclass := format('%I.%I', tg_table_schema, tg_table_name || '_history');
    columns text;
    old_columns text;
    old_values text;
    new_values text;
    kept_values text;
    same_row text;
    same_kept_row text;
begin
    if not exists (select from old_rows) then
        return null;
    end if;
    select
        string_agg(quote_ident(s.name), ', '),
        string_agg('o.' || quote_ident(s.name), ', '),
        string_agg('o.' || quote_ident(s.name), ', ') filter (where s.is_value),
        string_agg('n.' || quote_ident(s.name), ', ') filter (where s.is_value),
        string_agg('h.' || quote_ident(s.name), ', ') filter (where s.is_value),
        string_agg(format('n.%1$I = o.%1$I', s.name), ' and ') filter (where s.is_key),
        string_agg(format('h.%1$I = o.%1$I', s.name), ' and ') filter (where s.is_key)
    into columns, old_columns, old_values, new_values, kept_values, same_row, same_kept_row
    from (
        select
            a.attname as name,
            a.attname = any(tg_argv::text[]) as is_key,
            not a.attname = any(tg_argv::text[])
            and a.attname not in ('observed_at', 'raw_id', 'outdated_at') as is_value
        from pg_attribute as a
        inner join pg_attribute as h on h.attrelid = history_table and h.attname = a.attname and not h.attisdropped
        where a.attrelid = tg_relid and a.attnum > 0 and not a.attisdropped
    ) as s;
    -- Where a row was set back to an earlier observation, versions that were observed later no longer count; the
    -- intervals of a row's versions never overlap.
    -- A batch that is merged once more after its rows were deleted keeps no version twice.
    -- Versions are found by the index, whatever the estimates: the array narrows an update to the logins of the rows that
    -- were set back, usually none, and `offset 0` keeps the other condition from becoming a join with whole histories.
    execute format(
        $query$
        with superseded as materialized (
            select %2$s, n.observed_at as superseded_at
            from old_rows as o
            inner join new_rows as n on %3$s
            where (%4$s) is distinct from (%5$s)
        ),
        set_back as (
            update %1$s as h set superseded_at = o.superseded_at
            from superseded as o
            where
                h.%9$I = any(array(select s.%9$I from superseded as s where s.superseded_at < s.observed_at))
                and o.superseded_at < o.observed_at
                and %6$s
                and h.superseded_at > o.superseded_at
        )
        insert into %1$s (%7$s, superseded_at)
        select %2$s, o.superseded_at
        from superseded as o
        where not exists (
            select
            from %1$s as h
            where
                %6$s
                and h.superseded_at = o.superseded_at
                and h.observed_at = o.observed_at
                and (%8$s) is not distinct from (%4$s)
            offset 0
        )
        $query$,
        history_table, old_columns, same_row, old_values, new_values, same_kept_row, columns, kept_values, tg_argv[0]
    );
    return null;
end
$$;
comment on function core.keep_superseded is 'Statement trigger after updates, with `old_rows` and `new_rows`: keeps in `<table>_history` the rows whose values changed. Arguments: the columns of the key. Changes of `observed_at`, `raw_id` and `outdated_at` alone are none.';

create function core.keep_history(entity text) returns void
language plpgsql
as $$
declare
    core_table constant regclass := format('core.%I', entity);
    history_name constant text := entity || '_history';
    keys text[];
    partitioning text;
    name text;
    definition text;
    column_list text;
    is_live text;
begin
    select array_agg(a.attname::text order by k.ordinal)
    into keys
    from pg_index as i
    cross join unnest(i.indkey) with ordinality as k (attnum, ordinal)
    inner join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = core_table and i.indisprimary;
    if keys is null then
        raise exception 'core.% keeps a history and has no primary key; add one to its statement `table`', entity;
    end if;

    if to_regclass(format('core.%I', history_name)) is null then
        select pg_get_partkeydef(core_table) into partitioning;
        select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
        into definition
        from pg_attribute as a
        where a.attrelid = core_table and a.attnum > 0 and not a.attisdropped;
        execute format(
            'create table core.%I (%s, superseded_at timestamptz not null) %s',
            history_name, definition, 'partition by ' || partitioning
        );
        for name, definition in
            select c.relname, pg_get_expr(c.relpartbound, c.oid)
            from pg_inherits as p
            inner join pg_class as c on c.oid = p.inhrelid
            where p.inhparent = core_table
        loop
            execute format(
                'create table core.%I partition of core.%I %s',
                history_name || substr(name, length(entity) + 1), history_name, definition
            );
        end loop;
        -- The first column of the key is the login: what a login's rows were at an instant is one range of the index,
        -- which also grows at few places, and an erasure deletes one range.
        select string_agg(quote_ident(k), ', ') into definition from unnest(keys[2:]) as k;
        execute format(
            'create index on core.%I (%s)',
            history_name, concat_ws(', ', quote_ident(keys[1]), 'superseded_at', definition)
        );
        execute format(
            'comment on table core.%I is %L', history_name,
            format('Superseded versions of the rows of core.%I: each was what was known from `observed_at` until just before `superseded_at`.', entity)
        );
    end if;

    for name, definition in
        select a.attname, format_type(a.atttypid, a.atttypmod)
        from pg_attribute as a
        where
            a.attrelid = core_table
            and a.attnum > 0
            and not a.attisdropped
            and not exists (
                select
                from pg_attribute as h
                where
                    h.attrelid = format('core.%I', history_name)::regclass
                    and h.attname = a.attname
                    and not h.attisdropped
            )
        order by a.attnum
    loop
        execute format('alter table core.%I add column %I %s', history_name, name, definition);
    end loop;

    if not exists (select from pg_trigger as t where t.tgrelid = core_table and t.tgname = 'keeps_superseded') then
        execute format(
            'create trigger keeps_superseded after update on %s '
            'referencing old table as old_rows new table as new_rows '
            'for each statement execute function core.keep_superseded(%s)',
            core_table, (select string_agg(quote_literal(k), ', ') from unnest(keys) as k)
        );
    end if;

    if 'provider_account_id' = any(keys) and not exists (
        select
        from pg_trigger as t
        where t.tgrelid = 'core.provider_accounts'::regclass and t.tgname = 'keeps_' || history_name
    ) then
        execute format(
            'create trigger %I after delete on core.provider_accounts '
            'for each row execute function core.prevent_referenced_delete(%L, %L)',
            'keeps_' || history_name, format('core.%I', history_name), 'provider_account_id'
        );
    end if;

    -- One statement of `sql`, so that conditions of the caller, such as one login, reach the indexes of both tables.
    select
        string_agg('v.' || quote_ident(a.attname), ', ' order by a.attnum),
        coalesce(
            string_agg(format('and v.%I is null', a.attname), ' ') filter (
                where a.attname in ('removed_at', 'closed_on')
            ),
            ''
        )
    into column_list, is_live
    from pg_attribute as a
    where a.attrelid = core_table and a.attnum > 0 and not a.attisdropped;
    execute format(
        $query$
        create or replace function core.%1$I(known_at timestamptz) returns setof core.%2$I
        language sql stable parallel safe
        as $function$
        select %4$s from core.%2$I as v where v.observed_at <= $1 %5$s
        union all
        select %4$s from core.%3$I as v where v.observed_at <= $1 and v.superseded_at > $1 %5$s
        $function$
        $query$,
        entity || '_as_of', entity, history_name, column_list, is_live
    );
end
$$;
comment on function core.keep_history is 'Makes a core table keep the superseded versions of its rows in `<table>_history`, with the columns that it has now and with partitions like its own; and creates `<table>_as_of(instant)`, which returns the live rows as they were known then.';

create function core.stop_history(entity text) returns void
language plpgsql
as $$
begin
    if exists (
        select
        from pg_trigger as t
        where t.tgrelid = format('core.%I', entity)::regclass and t.tgname = 'keeps_superseded'
    ) then
        execute format('drop trigger keeps_superseded on core.%I', entity);
    end if;
end
$$;
comment on function core.stop_history is 'Makes a core table keep no more versions; those that it has stay.';

create table core.corrections (
    provider_account_id bigint not null references core.provider_accounts,
    transaction_id text not null,
    category text check (length(category) between 1 and 100),
    merchant_name text check (length(merchant_name) between 1 and 500),
    note text check (length(note) between 1 and 2000),
    is_ignored boolean,
    carried_from text[] not null default '{}',
    corrected_at timestamptz not null default now(),
    corrected_by text not null check (length(corrected_by) between 1 and 200),
    primary key (provider_account_id, transaction_id)
);
comment on table core.corrections is 'What users corrected on transactions: each field that is not null outranks the provider''s value. No load changes it, but a correction of a pending transaction is carried to the posted one.';
comment on column core.corrections.is_ignored is 'Whether reports leave the transaction out; null is no correction, and reports count it.';
comment on column core.corrections.carried_from is 'Ids of the transactions whose corrections were carried to this one: pending ones that it replaces, and those of earlier logins that it repeats. Each is carried once, so that fields which are cleared here stay cleared.';
comment on column core.corrections.corrected_by is 'Who corrected it last: a user, or a person at the command line.';
