-- name: users
-- Ids without gaps: the other statements rely on this.
insert into core.users (user_id, reference, created_at) overriding system value
select n, 'benchmark-' || n, '2020-01-01'
from generate_series(%(first)s::bigint, %(last)s) as n;

-- name: logins
-- One for each user, which makes the user a recipient.
insert into core.provider_accounts (provider_account_id, user_id, provider, item_id, access_token)
overriding system value
select n, n, 'plaid', 'item ' || n, ''
from generate_series(%(first)s::bigint, %(last)s) as n;

-- name: contacts
-- One user in five hundred has no address, and one in a thousand a malformed one.
insert into notify.contacts (user_id, channel, address)
select n, 'email', case when n %% 1000 = 13 then 'nobody' else 'user' || n || '@bank.example' end
from generate_series(%(first)s::bigint, %(last)s) as n
where n %% 500 <> 11;

-- name: consents
-- One user in fifty refused, and as many agreed.
insert into notify.consents (user_id, category, granted)
select n, %(category)s, n %% 50 = 4
from generate_series(%(first)s::bigint, %(last)s) as n
where n %% 50 in (3, 4);

-- name: suppressions
-- One user in two hundred has complained.
insert into notify.suppressions (address, channel, reason)
select 'user' || n || '@bank.example', 'email', 'complained'
from generate_series(%(first)s::bigint, %(last)s) as n
where n %% 200 = 7;

-- name: raw_batch
-- The raw batch to which the payments refer.
with chunk as (
    insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size)
    values ('transactions', 'benchmarks', %(first)s %% 1000000007, %(first)s, %(last)s + 1, 1)
    returning chunk_id
)
insert into etl.raw_batches (source, chunk_id, attempt, content_hash, path, accounts, pages, bytes)
select 'transactions', c.chunk_id, 1, '', '', 1, 1, 1
from chunk as c
returning raw_id;

-- name: payments
-- For each user two payments in the reported month, some in another currency, and one in the month before.
insert into core.transactions (
    provider_account_id,
    account_id,
    transaction_id,
    amount,
    currency,
    dated_on,
    pending,
    description,
    payment_channel,
    observed_at,
    raw_id
)
select
    n,
    'account ' || n,
    'payment ' || p,
    (n %% 9000 + 100 * p)::numeric / 100,
    case when p = 2 and n %% 10 = 0 then 'EUR' else 'GBP' end,
    case when p = 3 then '2025-04-30' else '2025-05-01' end::date,
    false,
    'a payment',
    'in store',
    '2025-06-01',
    %(raw_id)s
from generate_series(%(first)s::bigint, %(last)s) as n, generate_series(1, 3) as p;

-- name: count_users
-- Users that exist already.
select count(*) from core.users;
