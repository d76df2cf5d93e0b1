-- name: bounds
-- Accounts that hold less than the threshold of their currency: money on deposit only, since a credit card or a loan owes. Balances in a
-- currency without a threshold are compared with nothing. `observed_at` is when a balance was first seen as it is, so what has been as low
-- for longer than `days`, or has not been looked at, tells nobody.
-- No column numbers accounts, so a position is their login's number, and 24 bits of a hash.
select (p.provider_account_id << 24) + (hashtextextended(a.account_id, 0) & 16777215) as position
from core.provider_accounts as p
inner join core.accounts as a using (provider_account_id)
where
    p.state = 'active'
    and a.type = 'depository'
    and coalesce(a.balance_available, a.balance_current) < (%(thresholds)s::jsonb ->> a.currency)::numeric
    and a.observed_at > %(as_of)s::timestamptz - make_interval(days => %(days)s::int);

-- name: recipients
-- The rule is that of `bounds`, applied again at this moment: an account that has been filled since tells nobody.
-- An account is told of once a week, ISO 8601, counted by the day of the plan: who lives near the threshold does not hear of it daily.
select
    (p.provider_account_id << 24) + (hashtextextended(a.account_id, 0) & 16777215) as position,
    p.user_id,
    concat_ws('/', p.provider_account_id, a.account_id, to_char(%(as_of)s::timestamptz at time zone 'utc', 'IYYY-"W"IW')) as dedupe_key,
    a.name as account,
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
