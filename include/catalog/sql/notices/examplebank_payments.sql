-- name: large_payments
-- Payments of the last days from the threshold of their currency on. A payment dated earlier causes no message even if it was loaded just now,
-- since the first run reads years. A transaction has no numeric id, so a position is made of the id of the login and 24 bits of a hash.
-- `offset 0` keeps Postgres from reading all transactions: those of each login are looked up by their key.
select
    p.provider_account_id,
    (p.provider_account_id << 24) + (hashtextextended(t.transaction_id, 0) & 16777215) as position,
    p.user_id,
    t.transaction_id,
    t.dated_on,
    t.amount,
    t.currency,
    t.description
from core.provider_accounts as p
cross join lateral (
    select
        r.transaction_id,
        r.dated_on,
        r.amount,
        r.currency,
        r.description
    from core.examplebank_transactions as r
    where
        r.provider_account_id = p.provider_account_id
        and r.dated_on > (%(as_of)s::timestamptz at time zone 'utc')::date - %(days)s::int
        and r.amount >= (%(thresholds)s::jsonb ->> r.currency)::numeric
        and r.removed_at is null
    offset 0
) as t
where p.state in ('active', 'needs_login');

-- name: bounds
-- The large payments of now, for planning.
select l.position
from (
    {large_payments}
) as l;

-- name: recipients
-- The rule of `bounds`, applied again at this moment: a payment that was withdrawn since causes no message.
select
    l.position,
    l.user_id,
    concat_ws('/', l.provider_account_id, l.transaction_id) as dedupe_key,
    to_char(l.dated_on, 'FMDD FMMonth YYYY') as paid_on,
    l.amount::text as amount,
    l.currency,
    l.description
from (
    {large_payments}
) as l
where
    l.provider_account_id between %(after)s::bigint >> 24 and %(stop)s::bigint >> 24
    and l.position > %(after)s
    and l.position < %(stop)s
order by l.provider_account_id, l.position
limit %(limit)s;
