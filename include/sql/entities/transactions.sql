-- name: table
-- Hash partitions by provider account: a chunk's merge touches few of them, and each stays small enough to vacuum.
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
    description text not null,
    merchant_name text,
    merchant_entity_id text,
    payment_channel text not null,
    category text,
    category_detail text,
    removed_at timestamptz,
    removed_for text,
    observed_at timestamptz not null,
    raw_id bigint not null,
    primary key (provider_account_id, account_id, transaction_id)
) partition by hash (provider_account_id);

comment on table core.transactions is 'Transactions as last seen at the provider. Money is never summed across currencies.';
comment on column core.transactions.amount is 'Positive: money left the account. Negative: money came in. In major units of `currency`.';
comment on column core.transactions.currency is 'ISO 4217 code; null where the money has none, such as a crypto-currency.';
comment on column core.transactions.unofficial_currency is 'What the provider calls a currency without an ISO 4217 code.';
comment on column core.transactions.pending_transaction_id is 'Of a posted transaction: the pending one that it was before.';
comment on column core.transactions.removed_at is 'When the provider was seen to have removed it; the row stays.';
comment on column core.transactions.removed_for is '`posted` if a posted transaction took the place of this pending one; `absent` if the feed, read again from its beginning, had it no more; else `withdrawn`.';
comment on column core.transactions.observed_at is 'When the provider said so.';
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

-- By it the days of a login are found, and not its years.
create index if not exists transactions_dated on core.transactions (provider_account_id, dated_on);

create index if not exists transactions_still_pending on core.transactions (provider_account_id)
where pending and removed_at is null;

-- Only if they are not there, since making them waits for whoever writes, and lets others wait.
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
    for each statement execute function core.refer(
        'provider_account_id', 'core.provider_accounts', 'raw_id', 'etl.raw_batches'
    );
    create trigger refers_when_updated after update on core.transactions
    referencing new table as added
    for each statement execute function core.refer(
        'provider_account_id', 'core.provider_accounts', 'raw_id', 'etl.raw_batches'
    );
    create trigger keeps_transactions after delete on core.provider_accounts
    for each row execute function core.keep_referred('core.transactions', 'provider_account_id');
    create trigger keeps_all_transactions after truncate on core.provider_accounts
    for each statement execute function core.keep_referred('core.transactions');
    create trigger keeps_transactions after delete on etl.raw_batches
    for each row execute function core.keep_referred('core.transactions', 'raw_id');
    create trigger keeps_all_transactions after truncate on etl.raw_batches
    for each statement execute function core.keep_referred('core.transactions');
end
$$;

-- name: existing_by_key
-- The row that a record tells of, looked up by its key, so that a batch costs the same however much the table holds:
-- `offset 0` keeps the planner from reading all of the table instead.
select k.*
from core.transactions as k
where
    k.provider_account_id = i.provider_account_id
    and k.account_id = i.account_id
    and k.transaction_id = i.transaction_id
offset 0;

-- name: existing_of_accounts
-- All rows of the batch's accounts, where they are about as few as its records: to look each up by its key takes twice as long.
select k.*
from core.transactions as k
where k.provider_account_id = any(array(select m.provider_account_id from incoming_cursors as m))
offset 0;

-- name: merge
-- Upsert what differs in one typed batch, and count it. The join drops unchanged rows first: `on conflict … where` alone would lock, and log, each of them.
-- Ordered by key, so that parallel merges cannot deadlock. The accounts' cursors are locked, so no other load writes these rows meanwhile and `row_exists` stays true.
-- New rows go in without `on conflict`, which looks each of them up once more: a quarter of what their insert costs.
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
        and c.account_id = i.account_id
        and c.transaction_id = i.transaction_id
    where
        not i.removed
        and (
            c.observed_at is null
            or c.removed_at is not null
            or (
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
    order by d.provider_account_id, d.account_id, d.transaction_id
),
updated as (
    insert into core.transactions as kept (
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
    order by d.provider_account_id, d.account_id, d.transaction_id
    on conflict (provider_account_id, account_id, transaction_id) do update set
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
        observed_at = excluded.observed_at,
        raw_id = excluded.raw_id
    where kept.observed_at <= excluded.observed_at
)
select
    count(*) filter (where not row_exists) as inserted,
    count(*) filter (where row_exists and not superseded) as updated,
    count(*) filter (where superseded) as superseded
from differing;

-- name: remove
-- Tombstone what the provider removed. A row seen later than the removal stays; one that was never seen has nothing to lose.
-- The posted transaction that takes a pending one's place is merged by now, whichever page it came on.
with removals as (
    select
        i.provider_account_id,
        i.account_id,
        i.transaction_id,
        i.observed_at,
        c.observed_at > i.observed_at as superseded,
        exists (
            select 1
            from core.transactions as posted
            where
                posted.provider_account_id = i.provider_account_id
                and posted.pending_transaction_id = i.transaction_id
                and posted.removed_at is null
        ) as posted
    from incoming as i
    inner join core.transactions as c using (provider_account_id, account_id, transaction_id)
    where i.removed and c.removed_at is null
),
removed as (
    update core.transactions as kept set
        removed_at = r.observed_at,
        removed_for = case when r.posted then 'posted' else 'withdrawn' end,
        observed_at = r.observed_at,
        raw_id = %(raw_id)s
    from removals as r
    where
        not r.superseded
        and kept.provider_account_id = r.provider_account_id
        and kept.account_id = r.account_id
        and kept.transaction_id = r.transaction_id
)
select
    count(*) filter (where not superseded) as removed,
    count(*) filter (where superseded) as superseded
from removals;

-- name: close_pending
-- End pending rows whose end no record tells. A window may bring one that the feed never told of, since it came and went
-- between two of its readings: then the feed does not tell its end either. It ends when a posted one names it, and after
-- two weeks at the latest; no bank keeps a transaction pending for longer.
with ended as (
    select
        c.provider_account_id,
        c.account_id,
        c.transaction_id,
        'posted' as removed_for,
        i.observed_at
    from incoming as i
    inner join core.transactions as c
        on
            c.provider_account_id = i.provider_account_id
            and c.account_id = i.account_id
            and c.transaction_id = i.pending_transaction_id
    where not i.removed and not i.pending and c.pending and c.removed_at is null and c.observed_at <= i.observed_at
    union all
    select
        c.provider_account_id,
        c.account_id,
        c.transaction_id,
        'withdrawn' as removed_for,
        read.observed_at
    from (
        select i.provider_account_id, max(i.observed_at) as observed_at
        from incoming as i
        group by i.provider_account_id
    ) as read
    inner join core.transactions as c using (provider_account_id)
    inner join etl.raw_batches as r on r.raw_id = c.raw_id and r.source <> %(feed)s
    where
        c.pending
        and c.removed_at is null
        and c.observed_at <= read.observed_at
        and c.dated_on < (read.observed_at at time zone 'utc')::date - 14
)
update core.transactions as kept set
    removed_at = e.observed_at,
    removed_for = e.removed_for,
    observed_at = e.observed_at,
    raw_id = %(raw_id)s
from ended as e
where
    kept.provider_account_id = e.provider_account_id
    and kept.account_id = e.account_id
    and kept.transaction_id = e.transaction_id
returning kept.provider_account_id, kept.account_id, kept.transaction_id;

-- name: close_absent
-- Where a feed was read again from its beginning, end the rows that it does not tell any more. It tells of a span of time
-- only, so what is older than its oldest record stays; so do accounts with a record that was rejected, which might be it.
with told as (
    select
        i.provider_account_id,
        i.account_id,
        min(i.dated_on) as first_on,
        max(i.observed_at) as observed_at
    from incoming as i
    inner join incoming_cursors as m using (provider_account_id)
    where
        m.whole
        and not i.removed
        and not exists (
            select 1
            from etl.rejects as r
            where
                r.raw_id = %(raw_id)s
                and r.entity = 'transactions'
                and r.version = %(version)s
                and r.provider_account_id = i.provider_account_id
        )
    group by i.provider_account_id, i.account_id
)
update core.transactions as kept set
    removed_at = t.observed_at,
    removed_for = 'absent',
    observed_at = t.observed_at,
    raw_id = %(raw_id)s
from told as t
where
    kept.provider_account_id = t.provider_account_id
    and kept.account_id = t.account_id
    and kept.dated_on >= t.first_on
    and kept.removed_at is null
    and (kept.observed_at, kept.raw_id) <= (t.observed_at, %(raw_id)s)
    and not exists (
        select 1
        from incoming as i
        where
            i.provider_account_id = kept.provider_account_id
            and i.account_id = kept.account_id
            and i.transaction_id = kept.transaction_id
    )
returning kept.provider_account_id, kept.account_id, kept.transaction_id;
