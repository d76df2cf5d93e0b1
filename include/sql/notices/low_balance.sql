-- name: bounds
-- Accounts whose balance is below the threshold of their currency: deposit accounts only, since the balance of a credit card or a loan is a
-- debt. Currencies without a threshold, and closed accounts, are skipped. A balance that has not changed for longer than `days`, or has not been
-- read recently, causes no message: `observed_at` is when any value of the account last changed, and the versions that were superseded since
-- tell whether the balance was another, or the account unknown.
-- Accounts have no numeric id, so a position is made of the id of the provider account and 24 bits of a hash.
select (p.provider_account_id << 24) + (hashtextextended(a.account_id, 0) & 16777215) as position
from core.provider_accounts as p
inner join core.accounts as a using (provider_account_id)
where
    p.state = 'active'
    and a.type = 'depository'
    and coalesce(a.balance_available, a.balance_current) < (%(thresholds)s::jsonb ->> a.currency)::numeric
    and a.observed_at > %(as_of)s::timestamptz - make_interval(days => %(days)s::int)
    and a.closed_on is null
    and (
        select
            coalesce(
                bool_or(
                    (coalesce(h.balance_available, h.balance_current), h.currency)
                    is distinct from (coalesce(a.balance_available, a.balance_current), a.currency)
                    or h.closed_on is not null
                ),
                true
            )
            or min(h.observed_at) > %(as_of)s::timestamptz - make_interval(days => %(days)s::int)
        from core.accounts_history as h
        where
            h.provider_account_id = a.provider_account_id
            and h.account_id = a.account_id
            and h.superseded_at > %(as_of)s::timestamptz - make_interval(days => %(days)s::int)
    );

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
    and a.closed_on is null
    and (
        select
            coalesce(
                bool_or(
                    (coalesce(h.balance_available, h.balance_current), h.currency)
                    is distinct from (coalesce(a.balance_available, a.balance_current), a.currency)
                    or h.closed_on is not null
                ),
                true
            )
            or min(h.observed_at) > %(as_of)s::timestamptz - make_interval(days => %(days)s::int)
        from core.accounts_history as h
        where
            h.provider_account_id = a.provider_account_id
            and h.account_id = a.account_id
            and h.superseded_at > %(as_of)s::timestamptz - make_interval(days => %(days)s::int)
    )
    and (p.provider_account_id << 24) + (hashtextextended(a.account_id, 0) & 16777215) > %(after)s
    and (p.provider_account_id << 24) + (hashtextextended(a.account_id, 0) & 16777215) < %(stop)s
order by p.provider_account_id, position
limit %(limit)s;
