-- name: table
-- What there is besides the declared table.

-- Finds the posted transaction that replaces a pending one.
create index if not exists transactions_pending on core.transactions (provider_account_id, pending_transaction_id)
where pending_transaction_id is not null;

-- Finds the transactions of a provider account in a span of days without reading its whole history.
create index if not exists transactions_dated on core.transactions (provider_account_id, dated_on);

-- All columns of the table, and what users corrected. A column that the table gains is appended; otherwise the view is
-- left alone, since replacing it waits for whoever reads it. A migration that drops it has it created anew.
do $$
declare
    first_names constant text[] := array[
        'provider_account_id', 'account_id', 'transaction_id', 'amount', 'currency', 'unofficial_currency', 'dated_on',
        'dated_at', 'authorized_on', 'authorized_at', 'pending', 'pending_transaction_id', 'description',
        'merchant_name', 'merchant_entity_id', 'payment_channel', 'category', 'category_detail', 'note', 'is_ignored',
        'corrected_fields', 'outdated_at', 'observed_at', 'raw_id'
    ];
    column_list text;
    is_complete boolean;
begin
    with names as (
        select a.attname::text as name, a.attnum as place
        from pg_attribute as a
        where
            a.attrelid = 'core.transactions'::regclass
            and a.attnum > 0
            and not a.attisdropped
            and a.attname not in ('removed_at', 'removed_for')
        union all
        select unnest(array['note', 'is_ignored', 'corrected_fields']), null
    ),
    expressions (name, expression) as (
        values
        ('merchant_name', 'coalesce(c.merchant_name, t.merchant_name)'),
        ('category', 'coalesce(c.category, t.category)'),
        ('category_detail', 'case when c.category is null then t.category_detail end'),
        ('note', 'c.note'),
        ('is_ignored', 'coalesce(c.is_ignored, false)'),
        (
            'corrected_fields',
            $text$
            array_remove(
                array[
                    case when c.category is not null then 'category' end,
                    case when c.merchant_name is not null then 'merchant_name' end,
                    case when c.note is not null then 'note' end,
                    case when c.is_ignored is not null then 'is_ignored' end
                ],
                null
            )
            $text$
        )
    )
    select
        string_agg(
            format('%s as %I', coalesce(e.expression, format('t.%I', n.name)), n.name), ', '
            order by v.attnum, array_position(first_names, n.name), n.place
        ),
        count(v.attnum) = count(*)
    into column_list, is_complete
    from names as n
    left join expressions as e on e.name = n.name
    left join pg_attribute as v
        on v.attrelid = to_regclass('core.effective_transactions') and v.attname = n.name and not v.attisdropped;
    if is_complete then
        return;
    end if;
    execute format(
        'create or replace view core.effective_transactions as select %s from core.transactions as t '
        'left join core.corrections as c '
        'on c.provider_account_id = t.provider_account_id and c.transaction_id = t.transaction_id '
        'where t.removed_at is null',
        column_list
    );
    comment on view core.effective_transactions is 'Live transactions, with what users corrected in place of what the provider sent.';
    comment on column core.effective_transactions.category_detail is 'The provider''s; null where the category was corrected.';
    comment on column core.effective_transactions.corrected_fields is 'Names of the fields that were corrected.';
end
$$;
