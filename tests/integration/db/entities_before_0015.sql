-- The tables of the entities as they were before migration 0015, from include/sql/entities/ of that time.

-- A bank account belongs to one provider account; its id is unique only within that.
create table if not exists core.accounts (
    provider_account_id bigint not null references core.provider_accounts,
    account_id text not null,
    name text not null,
    official_name text,
    mask text,
    type text not null,
    subtype text,
    balance_current numeric(28, 10),
    balance_available numeric(28, 10),
    balance_limit numeric(28, 10),
    currency text,
    unofficial_currency text,
    observed_at timestamptz not null,
    raw_id bigint not null references etl.raw_batches,
    primary key (provider_account_id, account_id)
);

comment on table core.accounts is 'Bank accounts as last seen at the provider.';
comment on column core.accounts.balance_current is 'What the account holds, or what is owed on a credit account, in major units of `currency`.';
comment on column core.accounts.observed_at is 'When the row was first observed with its current values.';
comment on column core.accounts.raw_id is 'The raw batch that holds the record as sent.';

-- Merchants are shared by all users, so their key is the provider's own id.
create table if not exists core.merchants (
    entity_id text primary key,
    name text not null,
    type text,
    website text,
    category text,
    observed_at timestamptz not null,
    raw_id bigint not null references etl.raw_batches
);

comment on table core.merchants is 'Counterparties as last named on a transaction; shared by all users.';
comment on column core.merchants.entity_id is 'The provider''s id, which stays when the name changes.';
comment on column core.merchants.category is 'Category of the transaction that last named it.';
comment on column core.merchants.raw_id is 'The raw batch that holds the transaction as sent.';

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
comment on column core.transactions.pending_transaction_id is 'Of a posted transaction: the pending transaction that it replaces.';
comment on column core.transactions.removed_at is 'When the removal by the provider was observed; the row stays as a tombstone.';
comment on column core.transactions.removed_for is '`posted` if a posted transaction replaced this pending one; `absent` if the feed did not contain it any more when it was read again from its beginning; else `withdrawn`.';
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

create index if not exists transactions_still_pending on core.transactions (provider_account_id)
where pending and removed_at is null;

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
