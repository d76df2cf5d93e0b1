-- Logins that stop, and come back: why, since when, and when they are tried again.

alter table core.provider_accounts drop constraint provider_accounts_state_check;
alter table core.provider_accounts drop constraint provider_accounts_check;
alter table core.provider_accounts rename column stopped_for to state_reason;
alter table core.provider_accounts rename column stopped_at to state_since;
update core.provider_accounts set state_since = enrolled_at where state_since is null;
alter table core.provider_accounts
    alter column state_since set default now(),
    alter column state_since set not null,
    alter column access_token drop not null,
    add column token_version int not null default 1,
    add column next_try_at timestamptz,
    add column failed_tries int not null default 0,
    add column institution_id text,
    add column institution_name text,
    add column history_days int,
    add column replaced_by bigint references core.provider_accounts,
    add column linked_at timestamptz not null default now(),
    add column compared_at timestamptz;
update core.provider_accounts set linked_at = enrolled_at;
update core.provider_accounts set state = 'needs_login', next_try_at = now() where state = 'stopped';
alter table core.provider_accounts
    add constraint provider_accounts_state_check
    check (state in ('active', 'needs_login', 'suspended', 'unlinked', 'replaced')),
    add constraint provider_accounts_token_check check (access_token is not null or state = 'unlinked'),
    add constraint provider_accounts_next_try_check check (next_try_at is null or state = 'needs_login'),
    add constraint provider_accounts_replaced_check
    check (case when replaced_by is null then state <> 'replaced' else state in ('replaced', 'unlinked') end);
comment on column core.provider_accounts.state is '`active`; `needs_login`: its user must log in at the bank again, and it is tried again at `next_try_at`; `suspended`: stopped by hand; `unlinked`: given back to the provider, its token deleted; `replaced`: linked again as the login `replaced_by`.';
comment on column core.provider_accounts.state_reason is 'Why it has its state: the provider''s error code, such as ITEM_LOGIN_REQUIRED, or what a person gave as reason.';
comment on column core.provider_accounts.state_since is 'Since when it has its state.';
comment on column core.provider_accounts.replaced_by is 'The login that its user linked instead; an unlinked login can have one, too.';
comment on column core.provider_accounts.linked_at is 'When its user linked it last; of logins with the same accounts, the one that was linked last counts.';
comment on column core.provider_accounts.compared_at is 'When its loaded accounts were first compared with those of the user''s other logins after it was linked last; null until then.';
comment on column core.provider_accounts.token_version is 'Grows with each new access token, so that an error for an older one does not stop the login.';
comment on column core.provider_accounts.failed_tries is 'Failed tries in a row since it needs a login; each doubles the wait before the next.';
comment on column core.provider_accounts.history_days is 'Days of history that the provider promised to send when the login was linked; null if unknown.';
create index on core.provider_accounts (provider, next_try_at) where state = 'needs_login';

create view core.due_logins as
select p.provider_account_id, p.provider, p.access_token, p.token_version, p.state
from core.provider_accounts as p
where p.state = 'active' or (p.state = 'needs_login' and p.next_try_at <= now());
comment on view core.due_logins is 'Logins that a run asks now: the active ones, and those that need a login and are due for another try.';

alter table etl.left_out
    add column token_version int,
    add column accepted boolean;
comment on column etl.left_out.token_version is 'Version of the access token that was used; null where no request was sent.';
comment on column etl.left_out.accepted is 'What the report of the run made of the outcomes `stopped` and `still_stopped`, which are proposals: whether the login was stopped for it, or its next try put off. Null until then.';

alter table etl.promises drop constraint promises_kind_check;
alter table etl.promises add constraint promises_kind_check
check (kind in ('forecast', 'missed', 'recovered', 'failed', 'logins_stopped'));
