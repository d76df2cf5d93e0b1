-- name: low_accounts
-- Accounts whose balance is below the threshold of their currency: deposit accounts only, since the balance of a credit card or a loan is a
-- debt. Currencies without a threshold, and closed accounts, are skipped; so are logins that a person has ended, or that were replaced, but not
-- those that wait for their users. A balance that has not changed for longer than `days`, or has not been read recently, causes no message:
-- `observed_at` is when any value of the account last changed, and the versions that were superseded since tell whether the balance was another,
-- or the account unknown.
-- An account that was linked again continues the ones that it replaces: their versions are its own, and all have one key.
-- Accounts have no numeric id, so a position is made of the id of the provider account and 24 bits of a hash.
select
    p.provider_account_id,
    (p.provider_account_id << 24) + (hashtextextended(a.account_id, 0) & 16777215) as position,
    p.user_id,
    coalesce(
        (
            select concat_ws('/', r.old_provider_account_id, r.old_account_id)
            from core.replaced_accounts as r
            where
                r.new_provider_account_id = a.provider_account_id
                and r.new_account_id = a.account_id
                and r.undone_at is null
                and r.old_provider_account_id < a.provider_account_id
            order by r.old_provider_account_id, r.old_account_id
            limit 1
        ),
        concat_ws('/', a.provider_account_id, a.account_id)
    ) as account_key,
    coalesce(nullif(btrim(a.name), ''), a.official_name) as account,
    a.mask,
    coalesce(a.balance_available, a.balance_current)::text as balance,
    a.balance_available is not null as available,
    a.currency,
    %(thresholds)s::jsonb ->> a.currency as threshold
from core.provider_accounts as p
inner join core.accounts as a using (provider_account_id)
cross join (select %(as_of)s::timestamptz - make_interval(days => %(days)s::int) as since) as d
where
    p.state in ('active', 'needs_login')
    and a.type = 'depository'
    and coalesce(a.balance_available, a.balance_current) < (%(thresholds)s::jsonb ->> a.currency)::numeric
    and a.observed_at > d.since
    and a.closed_on is null
    and (
        select
            coalesce(
                bool_or(
                    (coalesce(v.balance_available, v.balance_current), v.currency)
                    is distinct from (coalesce(a.balance_available, a.balance_current), a.currency)
                    or v.closed_on is not null
                ),
                true
            )
            or min(v.observed_at) > d.since
        from (
            select h.balance_available, h.balance_current, h.currency, h.closed_on, h.observed_at
            from core.accounts_history as h
            where
                h.provider_account_id = a.provider_account_id
                and h.account_id = a.account_id
                and h.superseded_at > d.since
            union all
            select h.balance_available, h.balance_current, h.currency, null, h.observed_at
            from core.replaced_accounts as r
            inner join core.accounts_history as h
                on h.provider_account_id = r.old_provider_account_id and h.account_id = r.old_account_id
            where
                r.new_provider_account_id = a.provider_account_id
                and r.new_account_id = a.account_id
                and r.undone_at is null
                and h.superseded_at >= least(d.since, r.replaced_at)
                and h.closed_on is null
        ) as v
    );

-- name: bounds
-- The accounts with a low balance now, for planning.
select l.position
from (
    {low_accounts}
) as l;

-- name: recipients
-- The rule of `bounds`, applied again at this moment: an account whose balance has risen since causes no message.
-- The dedupe key holds the ISO 8601 week of the planning day, so that a user whose balance stays near the threshold gets one message a week
-- for each account, not one a day.
select
    l.position,
    l.user_id,
    concat_ws('/', l.account_key, to_char(%(as_of)s::timestamptz at time zone 'utc', 'IYYY-"W"IW')) as dedupe_key,
    l.account,
    l.mask,
    l.balance,
    l.available,
    l.currency,
    l.threshold
from (
    {low_accounts}
) as l
where
    l.provider_account_id between %(after)s::bigint >> 24 and %(stop)s::bigint >> 24
    and l.position > %(after)s
    and l.position < %(stop)s
order by l.provider_account_id, l.position
limit %(limit)s;
