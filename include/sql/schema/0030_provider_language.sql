-- What providers of other shapes need: tokens that are renewed, quotas of a few calls a day, consents that end, and lists
-- of recent days in place of a feed.

create table etl.provider_tokens (
    provider text not null,
    owner bigint not null,
    access_token bytea,
    refresh_token bytea,
    expires_at timestamptz,
    token_version int,
    renewing_until timestamptz,
    renewed_at timestamptz,
    primary key (provider, owner)
);
comment on table etl.provider_tokens is 'Tokens of OAuth 2, encrypted as access tokens are, shared by all workers.';
comment on column etl.provider_tokens.owner is 'The provider account; 0 where one token serves all logins of the provider.';
comment on column etl.provider_tokens.refresh_token is 'Of the client. That of a login is its access token in core.provider_accounts.';
comment on column etl.provider_tokens.token_version is 'Version of the login''s token that it was issued for; a login that was linked again needs another.';
comment on column etl.provider_tokens.renewing_until is 'Until when one worker alone may renew it; null if none does.';

create table etl.provider_calls (
    provider_account_id bigint not null references core.provider_accounts,
    source text not null,
    called_at timestamptz not null default clock_timestamp()
);
-- The table is new.
-- squawk-ignore require-concurrent-index-creation
create index on etl.provider_calls (provider_account_id, source, called_at);
comment on table etl.provider_calls is 'Calls of sources that have a quota; those older than its span are removed with the next call.';

create table etl.provider_blocks (
    provider_account_id bigint not null references core.provider_accounts,
    source text not null,
    blocked_until timestamptz not null,
    primary key (provider_account_id, source)
);
comment on table etl.provider_blocks is 'Logins of which the provider itself said that no call is left until some time.';

create table etl.recent_reads (
    provider_account_id bigint not null references core.provider_accounts,
    source text not null,
    first_on date not null,
    last_on date not null,
    raw_id bigint not null references etl.raw_batches,
    loaded_at timestamptz not null default now(),
    primary key (provider_account_id, source)
);
comment on table etl.recent_reads is 'The latest list of recent days of each login that was loaded; the next one begins before its end.';

alter table core.provider_accounts
    add column consent_expires_at timestamptz;
comment on column core.provider_accounts.consent_expires_at is 'When the user''s consent ends, unless it is given again; null if it does not end by itself.';
-- No row has a value yet, and `alter table` holds the stronger lock until the commit anyway.
-- squawk-ignore require-concurrent-index-creation
create index on core.provider_accounts (provider, consent_expires_at) where consent_expires_at is not null;

create or replace view core.due_logins as
select p.provider_account_id, p.provider, p.access_token, p.token_version, p.state, p.item_id
from core.provider_accounts as p
where p.state = 'active' or (p.state = 'needs_login' and p.next_try_at <= now());

alter table etl.unfinished_downloads
    add column first_on date,
    add column last_on date;
comment on column etl.unfinished_downloads.first_on is 'First of the recent days that the pages are of; null if they are of a feed.';
