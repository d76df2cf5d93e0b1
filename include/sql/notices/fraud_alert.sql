-- name: bounds
-- Unusual payments: dated since `first_on`, at least `factor` times the largest payment of the same account and currency in the
-- `usual_days` before, of which there must be at least `usual_payments`, and not below the floor of their currency. Payments dated earlier
-- cause no alert even if they were loaded just now, since a first sync brings years of history.
-- Payments have no numeric id, so a position is made of the id of the provider account and 24 bits of a hash. A payment that was pending is
-- identified by the id that it had then, so that it keeps its position when it is posted; its bank account identifies nothing, since banks
-- correct it.
-- `offset 0` keeps Postgres from reading all transactions: the last days of each provider account are looked up in the index
-- `transactions_dated`.
select (p.provider_account_id << 24) + (hashtextextended(t.payment_id, 0) & 16777215) as position
from core.provider_accounts as p
cross join (select (%(as_of)s::timestamptz at time zone 'utc')::date - %(days)s::int as first_on) as d
cross join lateral (
    select
        r.account_id,
        coalesce(r.pending_transaction_id, r.transaction_id) as payment_id,
        r.amount,
        r.currency
    from core.transactions as r
    where
        r.provider_account_id = p.provider_account_id
        and r.dated_on >= d.first_on
        and r.dated_on <= d.first_on + %(days)s::int + 1
        and r.amount >= coalesce((%(floors)s::jsonb ->> r.currency)::numeric, 0)
        and r.removed_at is null
    offset 0
) as t
cross join lateral (
    select
        count(*) as payments,
        max(b.amount) as largest
    from core.transactions as b
    where
        b.provider_account_id = p.provider_account_id
        and b.account_id = t.account_id
        and b.currency = t.currency
        and b.amount > 0
        and b.removed_at is null
        and b.dated_on >= d.first_on - %(usual_days)s::int
        and b.dated_on < d.first_on
) as usual
where
    p.state = 'active'
    and usual.payments >= %(usual_payments)s::int
    and t.amount >= %(factor)s::numeric * usual.largest;

-- name: recipients
-- The rule of `bounds`, applied again at this moment: a payment that was removed since causes no alert. Provider accounts are read in order,
-- so that a page reads no more of them than it needs.
select
    (p.provider_account_id << 24) + (hashtextextended(t.payment_id, 0) & 16777215) as position,
    p.user_id,
    concat_ws('/', p.provider_account_id, t.payment_id) as dedupe_key,
    t.payee,
    t.amount::text as amount,
    t.currency,
    to_char(t.paid_on, 'FMDD FMMonth YYYY') as paid_on,
    t.pending,
    usual.largest::text as largest,
    usual.payments,
    a.name as account,
    a.mask
from core.provider_accounts as p
cross join (select (%(as_of)s::timestamptz at time zone 'utc')::date - %(days)s::int as first_on) as d
cross join lateral (
    select
        r.account_id,
        coalesce(r.pending_transaction_id, r.transaction_id) as payment_id,
        r.amount,
        r.currency,
        r.pending,
        coalesce(r.authorized_on, r.dated_on) as paid_on,
        coalesce(r.merchant_name, r.description, 'an unnamed payee') as payee
    from core.transactions as r
    where
        r.provider_account_id = p.provider_account_id
        and r.dated_on >= d.first_on
        and r.dated_on <= d.first_on + %(days)s::int + 1
        and r.amount >= coalesce((%(floors)s::jsonb ->> r.currency)::numeric, 0)
        and r.removed_at is null
    offset 0
) as t
cross join lateral (
    select
        count(*) as payments,
        max(b.amount) as largest
    from core.transactions as b
    where
        b.provider_account_id = p.provider_account_id
        and b.account_id = t.account_id
        and b.currency = t.currency
        and b.amount > 0
        and b.removed_at is null
        and b.dated_on >= d.first_on - %(usual_days)s::int
        and b.dated_on < d.first_on
) as usual
left join core.accounts as a on a.provider_account_id = p.provider_account_id and a.account_id = t.account_id
where
    p.state = 'active'
    and p.provider_account_id between %(after)s::bigint >> 24 and %(stop)s::bigint >> 24
    and usual.payments >= %(usual_payments)s::int
    and t.amount >= %(factor)s::numeric * usual.largest
    and (p.provider_account_id << 24) + (hashtextextended(t.payment_id, 0) & 16777215) > %(after)s
    and (p.provider_account_id << 24) + (hashtextextended(t.payment_id, 0) & 16777215) < %(stop)s
order by p.provider_account_id, position
limit %(limit)s;
