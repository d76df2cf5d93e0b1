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
    was_closed boolean not null,
    ended_feeds text[] not null default '{}',
    primary key (old_provider_account_id, old_account_id, new_provider_account_id),
    check (old_provider_account_id <> new_provider_account_id)
);
comment on table core.replaced_accounts is 'Accounts of logins that were linked again, with the accounts that hold the same money now.';
comment on column core.replaced_accounts.matched_by is '`persistent_id`: the provider''s id that outlives a login; `mask`: mask, type, subtype and currency together.';
comment on column core.replaced_accounts.undone_at is 'When a person undid it; it is never decided again by itself, in neither direction.';
comment on column core.replaced_accounts.was_closed is 'Whether the earlier account was closed already: by the provider, or by an earlier pair. It stays closed if all pairs of it that are undone say so.';
comment on column core.replaced_accounts.ended_feeds is 'Feeds of which the rows of the two were compared since the later login was read; they are compared again when rows of either are loaded.';
create index on core.replaced_accounts (new_provider_account_id);

do $$
begin
    if to_regclass('core.transactions') is not null then
        comment on column core.transactions.removed_for is '`posted` if a posted transaction replaced this pending one; `absent` if the feed did not contain it any more when it was read again from its beginning; `replaced` if its login was linked again, and the later login has it; else `withdrawn`.';
    end if;
end
$$;
