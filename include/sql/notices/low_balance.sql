-- name: bounds
-- Accounts whose balance is below the threshold of their currency: deposit accounts only, since the balance of a credit card or a loan is a
-- debt. Currencies without a threshold are skipped. `observed_at` is when the current balance was first observed, so a balance that has been
-- low for longer than `days`, or has not been read recently, causes no message.
-- Accounts have no numeric id, so a position is made of the id of the provider account and 24 bits of a hash.
select (p.provider_account_id << 24) + (hashtextextended(a.account_id, 0) & 16777215) as position
from core.provider_accounts as p
inner join core.accounts as a using (provider_account_id)
where
    p.state = 'active'
    and a.type = 'depository'
    and coalesce(a.balance_available, a.balance_current) < (%(thresholds)s::jsonb ->> a.currency)::numeric
    and a.observed_at > %(as_of)s::timestamptz - make_interval(days => %(days)s::int);

-- name: recipients
-- The rule of `bounds`, applied again at this moment: an account whose balance has risen since causes no message.
-- The dedupe key holds the ISO 8601 week of the planning day, so that a user whose balance stays near the threshold gets one message a week
-- for each account, not one a day.
select
    (p.provider_account_id << 24) + (hashtextextended(a.account_id, 0) & 16777215) as position,
    p.user_id,
    concat_ws('/', p.provider_account_id, a.account_id, to_char(%(as_of)s::timestamptz at time zone 'utc', 'IYYY-"W"IW')) as dedupe_key,
    coalesce(a.name, a.official_name, 'an account') as account,
    a.mask,
    coalesce(a.balance_available, a.balance_current)::text as balance,
    a.balance_available is not null as available,
    a.currency,
    %(thresholds)s::jsonb ->> a.currency as threshold
from core.provider_accounts as p
inner join core.accounts as a using (provider_account_id)
where
    p.state = 'active'
    and p.provider_account_id between %(after)s::bigint >> 24 and %(stop)s::bigint >> 24
    and a.type = 'depository'
    and coalesce(a.balance_available, a.balance_current) < (%(thresholds)s::jsonb ->> a.currency)::numeric
    and a.observed_at > %(as_of)s::timestamptz - make_interval(days => %(days)s::int)
    and (p.provider_account_id << 24) + (hashtextextended(a.account_id, 0) & 16777215) > %(after)s
    and (p.provider_account_id << 24) + (hashtextextended(a.account_id, 0) & 16777215) < %(stop)s
order by p.provider_account_id, position
limit %(limit)s;
