-- References that are checked once a statement. A foreign key looks up each row by itself, which takes as long as all
-- else that inserting a row does; a batch of 50,000 rows names one raw batch and fifty logins.
-- Keys are `bigint`, and not null. Unlike a foreign key they are not checked for rows that are written into a partition by
-- its own name; and whoever writes must be allowed to lock rows of the tables that are referred to.

create function core.refer() returns trigger
language plpgsql as $$
declare
    missing bigint;
begin
    for place in 0 .. tg_nargs - 1 by 2 loop
        execute format(
            'with named as (select distinct a.%1$I as id from added as a), '
            'held as (select r.%1$I as id from %2$s as r inner join named as n on n.id = r.%1$I for key share of r) '
            'select n.id from named as n left join held as h using (id) where h.id is null limit 1',
            tg_argv[place], tg_argv[place + 1]::regclass
        ) into missing;
        if missing is not null then
            raise foreign_key_violation using
                message = format(
                    '%I.%I names %I %s, which %s does not hold',
                    tg_table_schema, tg_table_name, tg_argv[place], missing, tg_argv[place + 1]
                ),
                schema = tg_table_schema,
                table = tg_table_name,
                column = tg_argv[place];
        end if;
    end loop;
    return null;
end
$$;
comment on function core.refer is 'Trigger of a statement, whose new rows are `added`: each column, and the table that must hold what it names.';

create function core.keep_referred() returns trigger
language plpgsql as $$
declare
    referred boolean;
begin
    if tg_op = 'TRUNCATE' then
        execute format('select exists (select from %s)', tg_argv[0]::regclass) into referred;
    else
        execute format('select exists (select from %1$s as t where t.%2$I = ($1).%2$I)', tg_argv[0]::regclass, tg_argv[1])
        into referred
        using old;
    end if;
    if referred then
        raise foreign_key_violation using
            message = format('%I.%I still has rows that %s names', tg_table_schema, tg_table_name, tg_argv[0]),
            schema = tg_table_schema,
            table = tg_table_name;
    end if;
    return null;
end
$$;
comment on function core.keep_referred is 'Trigger after a row, or all of them, went: the table that must not name it, and the column by which it would.';

-- Loads lock what they refer to first, and so does this, lest each waits for the other.
do $$
begin
    if to_regclass('core.transactions') is not null then
        lock table etl.raw_batches, core.provider_accounts, core.transactions in access exclusive mode;
        alter table core.transactions
            drop constraint if exists transactions_provider_account_id_fkey,
            drop constraint if exists transactions_raw_id_fkey;
    end if;
end
$$;
