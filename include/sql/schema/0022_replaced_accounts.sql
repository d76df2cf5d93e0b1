-- A login that is linked again is a new login at the provider, with new ids for the same money: which of its accounts
-- replace which of the earlier login's.

create table core.replaced_accounts (
    old_provider_account_id bigint not null references core.provider_accounts,
    old_account_id text not null,
    new_provider_account_id bigint not null references core.provider_accounts,
    new_account_id text not null,
    matched_by text not null check (matched_by in ('persistent_id', 'mask')),
    replaced_at timestamptz not null default now(),
    undone_at timestamptz,
    primary key (old_provider_account_id, old_account_id, new_provider_account_id),
    check (old_provider_account_id <> new_provider_account_id)
);
comment on table core.replaced_accounts is 'Accounts of logins that were linked again, with the accounts that hold the same money now.';
comment on column core.replaced_accounts.matched_by is '`persistent_id`: the provider''s id that outlives a login; `mask`: mask, type, subtype and currency together.';
comment on column core.replaced_accounts.undone_at is 'When a person undid it; it is never decided again by itself, in neither direction.';
create index on core.replaced_accounts (new_provider_account_id);
