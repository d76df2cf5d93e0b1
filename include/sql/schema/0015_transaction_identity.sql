-- The provider's id identifies a transaction within its login; the account is an attribute, which banks correct. Fields
-- that nothing depends on may be missing, and rows say when a newer record of theirs was rejected.

do $$
begin
    if to_regclass('core.transactions') is null then
        return;
    end if;
    -- Where one transaction has rows under several accounts, the live one that was observed last stays.
    delete from core.transactions as t
    using (
        select
            d.provider_account_id,
            d.account_id,
            d.transaction_id,
            row_number() over (
                partition by d.provider_account_id, d.transaction_id
                order by d.removed_at is null desc, d.observed_at desc, d.raw_id desc
            ) as ordinal
        from core.transactions as d
    ) as ranked
    where
        ranked.ordinal > 1
        and t.provider_account_id = ranked.provider_account_id
        and t.account_id = ranked.account_id
        and t.transaction_id = ranked.transaction_id;
    alter table core.transactions
        drop constraint transactions_pkey,
        add primary key (provider_account_id, transaction_id),
        alter column description drop not null,
        alter column payment_channel drop not null,
        add column if not exists outdated_at timestamptz;
end
$$;

alter table if exists core.accounts
    alter column name drop not null,
    alter column type drop not null,
    add column if not exists persistent_id text,
    add column if not exists balance_as_of timestamptz,
    add column if not exists closed_on date,
    add column if not exists outdated_at timestamptz;

alter table if exists core.merchants add column if not exists named_on date;
