-- name: table
-- Hash partitions by provider account: the merge of a chunk touches few of them, and each stays small enough to vacuum.
create table if not exists core.transactions (
    provider_account_id bigint not null,
    account_id text not null,
    transaction_id text not null,
    amount numeric(28, 10) not null,
    currency text,
    unofficial_currency text,
    dated_on date not null,
    dated_at timestamptz,
    authorized_on date,
    authorized_at timestamptz,
    pending boolean not null,
    pending_transaction_id text,
    description text,
    merchant_name text,
    merchant_entity_id text,
    payment_channel text,
    category text,
    category_detail text,
    removed_at timestamptz,
    removed_for text,
    outdated_at timestamptz,
    observed_at timestamptz not null,
    raw_id bigint not null,
    primary key (provider_account_id, transaction_id)
) partition by hash (provider_account_id);

comment on table core.transactions is 'Transactions as last seen at the provider. Money is never summed across currencies.';
comment on column core.transactions.amount is 'Positive: money left the account. Negative: money came in. In major units of `currency`.';
comment on column core.transactions.currency is 'ISO 4217 code; null where the money has none, such as a crypto-currency.';
comment on column core.transactions.unofficial_currency is 'What the provider calls a currency without an ISO 4217 code.';
comment on column core.transactions.pending_transaction_id is 'Of a posted transaction: the pending transaction that it replaces.';
comment on column core.transactions.removed_at is 'When the removal by the provider was observed; the row stays as a tombstone.';
comment on column core.transactions.removed_for is '`posted` if a posted transaction replaced this pending one; `absent` if the feed did not contain it any more when it was read again from its beginning; `replaced` if its login was linked again, and the later login has it; else `withdrawn`.';
comment on column core.transactions.outdated_at is 'When a newer record of the transaction was observed that was rejected; null while the row is up to date.';
comment on column core.transactions.observed_at is 'When the current values, or the removal, were observed.';
comment on column core.transactions.raw_id is 'The raw batch that holds the record as sent.';

do $$
begin
    for remainder in 0..15 loop
        execute format(
            $ddl$
            create table if not exists core.transactions_%s
            partition of core.transactions for values with (modulus 16, remainder %s)
            $ddl$,
            to_char(remainder, 'FM00'), remainder
        );
    end loop;
end
$$;

create index if not exists transactions_pending on core.transactions (provider_account_id, pending_transaction_id)
where pending_transaction_id is not null;

-- Finds the transactions of a provider account in a span of days without reading its whole history.
create index if not exists transactions_dated on core.transactions (provider_account_id, dated_on);

-- Triggers are created only if they are missing, since `create trigger` waits for concurrent writers and blocks new
-- ones.
do $$
begin
    if exists (
        select 1
        from pg_trigger as t
        where t.tgrelid = 'core.transactions'::regclass and t.tgname = 'refers_when_inserted'
    ) then
        return;
    end if;
    create trigger refers_when_inserted after insert on core.transactions
    referencing new table as added
    for each statement execute function core.check_references(
        'provider_account_id', 'core.provider_accounts', 'raw_id', 'etl.raw_batches'
    );
    create trigger refers_when_updated after update on core.transactions
    referencing new table as added
    for each statement execute function core.check_references(
        'provider_account_id', 'core.provider_accounts', 'raw_id', 'etl.raw_batches'
    );
    create trigger keeps_transactions after delete on core.provider_accounts
    for each row execute function core.prevent_referenced_delete('core.transactions', 'provider_account_id');
    create trigger keeps_all_transactions after truncate on core.provider_accounts
    for each statement execute function core.prevent_referenced_delete('core.transactions');
    create trigger keeps_transactions after delete on etl.raw_batches
    for each row execute function core.prevent_referenced_delete('core.transactions', 'raw_id');
    create trigger keeps_all_transactions after truncate on etl.raw_batches
    for each statement execute function core.prevent_referenced_delete('core.transactions');
end
$$;

-- Created only if it is missing, since replacing a view waits for whoever reads it. A migration that drops it has it
-- created anew.
do $$
begin
    if to_regclass('core.effective_transactions') is not null then
        return;
    end if;
    create view core.effective_transactions as
    select
        t.provider_account_id,
        t.account_id,
        t.transaction_id,
        t.amount,
        t.currency,
        t.unofficial_currency,
        t.dated_on,
        t.dated_at,
        t.authorized_on,
        t.authorized_at,
        t.pending,
        t.pending_transaction_id,
        t.description,
        coalesce(c.merchant_name, t.merchant_name) as merchant_name,
        t.merchant_entity_id,
        t.payment_channel,
        coalesce(c.category, t.category) as category,
        case when c.category is null then t.category_detail end as category_detail,
        c.note,
        coalesce(c.is_ignored, false) as is_ignored,
        array_remove(
            array[
                case when c.category is not null then 'category' end,
                case when c.merchant_name is not null then 'merchant_name' end,
                case when c.note is not null then 'note' end,
                case when c.is_ignored is not null then 'is_ignored' end
            ],
            null
        ) as corrected_fields,
        t.outdated_at,
        t.observed_at,
        t.raw_id
    from core.transactions as t
    left join core.corrections as c
        on c.provider_account_id = t.provider_account_id and c.transaction_id = t.transaction_id
    where t.removed_at is null;
    comment on view core.effective_transactions is 'Live transactions, with what users corrected in place of what the provider sent.';
    comment on column core.effective_transactions.category_detail is 'The provider''s; null where the category was corrected.';
    comment on column core.effective_transactions.corrected_fields is 'Names of the fields that were corrected.';
end
$$;

-- name: existing_by_key
-- The row of a record, looked up by its key, so that the cost of a batch does not depend on the size of the table:
-- `offset 0` keeps the planner from scanning the table instead.
select k.*
from core.transactions as k
where
    k.provider_account_id = i.provider_account_id
    and k.transaction_id = i.transaction_id
offset 0;

-- name: existing_of_accounts
-- All rows of the batch's accounts, for accounts with about as few rows as the batch has records: looking up each row
-- by its key takes twice as long.
select k.*
from core.transactions as k
where k.provider_account_id = any(array(select m.provider_account_id from incoming_cursors as m))
offset 0;

-- name: merge
-- Upsert the records of a typed batch that differ from their rows, and count them. The join drops unchanged records
-- first: `on conflict … where` alone would lock each of their rows and log it to the WAL.
-- Ordered by key, so that parallel merges cannot deadlock. The accounts' cursors are locked, so that no other load
-- writes these rows and `row_exists` stays valid.
-- New rows are inserted without `on conflict`, which would look up each of them again: a quarter of the cost of
-- inserting.
with differing as materialized (
    select
        c.observed_at is not null as row_exists,
        coalesce(c.observed_at > i.observed_at, false) as superseded,
        i.provider_account_id,
        i.account_id,
        i.transaction_id,
        i.amount,
        i.currency,
        i.unofficial_currency,
        i.dated_on,
        i.dated_at,
        i.authorized_on,
        i.authorized_at,
        i.pending,
        i.pending_transaction_id,
        i.description,
        i.merchant_name,
        i.merchant_entity_id,
        i.payment_channel,
        i.category,
        i.category_detail,
        i.observed_at
    from incoming as i
    left join lateral (
        {existing}
    ) as c on
        c.provider_account_id = i.provider_account_id
            and c.transaction_id = i.transaction_id
    where
        not i.removed
        and (
            c.observed_at is null
            or c.removed_at is not null
            or c.outdated_at <= i.observed_at
            or (
                i.account_id,
                i.amount,
                i.currency,
                i.unofficial_currency,
                i.dated_on,
                i.dated_at,
                i.authorized_on,
                i.authorized_at,
                i.pending,
                i.pending_transaction_id,
                i.description,
                i.merchant_name,
                i.merchant_entity_id,
                i.payment_channel,
                i.category,
                i.category_detail
            ) is distinct from (
                c.account_id,
                c.amount,
                c.currency,
                c.unofficial_currency,
                c.dated_on,
                c.dated_at,
                c.authorized_on,
                c.authorized_at,
                c.pending,
                c.pending_transaction_id,
                c.description,
                c.merchant_name,
                c.merchant_entity_id,
                c.payment_channel,
                c.category,
                c.category_detail
            )
        )
),
inserted as (
    insert into core.transactions (
        provider_account_id,
        account_id,
        transaction_id,
        amount,
        currency,
        unofficial_currency,
        dated_on,
        dated_at,
        authorized_on,
        authorized_at,
        pending,
        pending_transaction_id,
        description,
        merchant_name,
        merchant_entity_id,
        payment_channel,
        category,
        category_detail,
        observed_at,
        raw_id
    )
    select
        d.provider_account_id,
        d.account_id,
        d.transaction_id,
        d.amount,
        d.currency,
        d.unofficial_currency,
        d.dated_on,
        d.dated_at,
        d.authorized_on,
        d.authorized_at,
        d.pending,
        d.pending_transaction_id,
        d.description,
        d.merchant_name,
        d.merchant_entity_id,
        d.payment_channel,
        d.category,
        d.category_detail,
        d.observed_at,
        %(raw_id)s
    from differing as d
    where not d.row_exists
    order by d.provider_account_id, d.transaction_id
),
updated as (
    insert into core.transactions as target (
        provider_account_id,
        account_id,
        transaction_id,
        amount,
        currency,
        unofficial_currency,
        dated_on,
        dated_at,
        authorized_on,
        authorized_at,
        pending,
        pending_transaction_id,
        description,
        merchant_name,
        merchant_entity_id,
        payment_channel,
        category,
        category_detail,
        observed_at,
        raw_id
    )
    select
        d.provider_account_id,
        d.account_id,
        d.transaction_id,
        d.amount,
        d.currency,
        d.unofficial_currency,
        d.dated_on,
        d.dated_at,
        d.authorized_on,
        d.authorized_at,
        d.pending,
        d.pending_transaction_id,
        d.description,
        d.merchant_name,
        d.merchant_entity_id,
        d.payment_channel,
        d.category,
        d.category_detail,
        d.observed_at,
        %(raw_id)s
    from differing as d
    where d.row_exists and not d.superseded
    order by d.provider_account_id, d.transaction_id
    on conflict (provider_account_id, transaction_id) do update set
        account_id = excluded.account_id,
        amount = excluded.amount,
        currency = excluded.currency,
        unofficial_currency = excluded.unofficial_currency,
        dated_on = excluded.dated_on,
        dated_at = excluded.dated_at,
        authorized_on = excluded.authorized_on,
        authorized_at = excluded.authorized_at,
        pending = excluded.pending,
        pending_transaction_id = excluded.pending_transaction_id,
        description = excluded.description,
        merchant_name = excluded.merchant_name,
        merchant_entity_id = excluded.merchant_entity_id,
        payment_channel = excluded.payment_channel,
        category = excluded.category,
        category_detail = excluded.category_detail,
        removed_at = null,
        removed_for = null,
        outdated_at = case when target.outdated_at > excluded.observed_at then target.outdated_at end,
        observed_at = excluded.observed_at,
        raw_id = excluded.raw_id
    where target.observed_at <= excluded.observed_at
)
select
    count(*) filter (where not row_exists) as inserted,
    count(*) filter (where row_exists and not superseded) as updated,
    count(*) filter (where superseded) as superseded
from differing;
