-- Who the data belongs to. The tables of the entities stand in ../entities/, each with its merge.

create schema core;

create table core.users (
    user_id bigint generated always as identity primary key,
    reference text not null unique,
    created_at timestamptz not null default now()
);
comment on column core.users.reference is 'The user''s id in the application that Sluice serves.';

create table core.provider_accounts (
    provider_account_id bigint generated always as identity primary key,
    user_id bigint not null references core.users,
    provider text not null,
    item_id text not null,
    access_token bytea not null,
    state text not null default 'active' check (state in ('active', 'stopped')),
    stopped_for text,
    stopped_at timestamptz,
    enrolled_at timestamptz not null default now(),
    unique (provider, item_id),
    check ((state = 'stopped') = (stopped_at is not null))
);
comment on table core.provider_accounts is 'One login of a user at a bank, through a provider; it holds one or more bank accounts.';
comment on column core.provider_accounts.access_token is 'Encrypted under the first of SLUICE_KEYS.';
comment on column core.provider_accounts.stopped_for is 'The provider''s error code that stopped it, such as ITEM_LOGIN_REQUIRED.';
create index on core.provider_accounts (user_id);
