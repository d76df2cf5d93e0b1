-- name: unusual_payments
-- Unusual payments: dated since `first_on`, at least `factor` times the largest payment of the same account and currency in the
-- `usual_days` before, of which there must be at least `usual_payments`, and not below the floor of their currency. Payments dated earlier
-- cause no alert even if they were loaded just now, since a first sync brings years of history.
-- A payment counts whether or not its login can be read now, unless a person has ended the login: the payment that a login brought just before
-- it stopped, or was linked again, must not be missed. What only the earlier logins of an account know is usual, too.
-- Payments have no numeric id, so a position is made of the id of the provider account and 24 bits of a hash. A payment that was pending is
-- identified by the id that it had then, so that it keeps its position when it is posted; its bank account identifies nothing, since banks
-- correct it.
-- `offset 0` keeps Postgres from reading all transactions: the last days of each provider account are looked up in the index
-- `transactions_dated`.
select
    p.provider_account_id,
    (p.provider_account_id << 24) + (hashtextextended(t.payment_id, 0) & 16777215) as position,
    p.user_id,
    t.account_id,
    t.transaction_id,
    t.payment_id,
    t.amount,
    t.currency,
    t.dated_on,
    t.pending,
    t.paid_on,
    t.payee,
    usual.payments,
    usual.largest
from core.provider_accounts as p
cross join (select (%(as_of)s::timestamptz at time zone 'utc')::date - %(days)s::int as first_on) as d
cross join lateral (
    select
        r.account_id,
        r.transaction_id,
        coalesce(r.pending_transaction_id, r.transaction_id) as payment_id,
        r.amount,
        r.currency,
        r.dated_on,
        r.pending,
        coalesce(r.authorized_on, r.dated_on) as paid_on,
        coalesce(nullif(btrim(r.merchant_name), ''), r.description) as payee
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
    from (
        select p.provider_account_id, t.account_id
        union all
        select e.old_provider_account_id, e.old_account_id
        from core.replaced_accounts as e
        where
            e.new_provider_account_id = p.provider_account_id
            and e.new_account_id = t.account_id
            and e.undone_at is null
    ) as s
    cross join lateral (
        select k.amount
        from core.transactions as k
        where
            k.provider_account_id = s.provider_account_id
            and k.account_id = s.account_id
            and k.currency = t.currency
            and k.amount > 0
            and k.removed_at is null
            and k.dated_on >= d.first_on - %(usual_days)s::int
            and k.dated_on < d.first_on
        offset 0
    ) as b
) as usual
where
    p.state in ('active', 'needs_login', 'replaced')
    and usual.payments >= %(usual_payments)s::int
    and t.amount >= %(factor)s::numeric * usual.largest;

-- name: bounds
-- The unusual payments of now, for planning.
select u.position
from (
    {unusual_payments}
) as u;

-- name: recipients
-- The rule of `bounds`, applied again at this moment: a payment that was removed since causes no alert. Provider accounts are read in order,
-- so that a page reads no more of them than it needs.
-- A payment that repeats one of an earlier login has the key of that one, so that it is not sent once more under its new id: the same day, amount
-- and currency in the same account, and the same place among equal ones.
select
    u.position,
    u.user_id,
    coalesce(
        (
            select concat_ws('/', e.old_provider_account_id, k.payment_id)
            from core.replaced_accounts as e
            cross join lateral (
                select
                    coalesce(o.pending_transaction_id, o.transaction_id) as payment_id,
                    row_number() over (order by o.transaction_id) as ordinal
                from core.transactions as o
                where
                    o.provider_account_id = e.old_provider_account_id
                    and o.account_id = e.old_account_id
                    and o.dated_on = u.dated_on
                    and o.amount = u.amount
                    and o.currency = u.currency
                    and (o.removed_at is null or o.removed_for = 'replaced')
                offset 0
            ) as k
            where
                e.new_provider_account_id = u.provider_account_id
                and e.new_account_id = u.account_id
                and e.undone_at is null
                and e.old_provider_account_id < u.provider_account_id
                and k.ordinal = (
                    select count(*)
                    from core.transactions as n
                    where
                        n.provider_account_id = u.provider_account_id
                        and n.account_id = u.account_id
                        and n.dated_on = u.dated_on
                        and n.amount = u.amount
                        and n.currency = u.currency
                        and n.removed_at is null
                        and n.transaction_id <= u.transaction_id
                )
            order by e.old_provider_account_id
            limit 1
        ),
        concat_ws('/', u.provider_account_id, u.payment_id)
    ) as dedupe_key,
    u.payee,
    u.amount::text as amount,
    u.currency,
    to_char(u.paid_on, 'FMDD FMMonth YYYY') as paid_on,
    u.pending,
    u.largest::text as largest,
    u.payments,
    a.name as account,
    a.mask
from (
    {unusual_payments}
) as u
left join core.accounts as a on a.provider_account_id = u.provider_account_id and a.account_id = u.account_id
where
    u.provider_account_id between %(after)s::bigint >> 24 and %(stop)s::bigint >> 24
    and u.position > %(after)s
    and u.position < %(stop)s
order by u.provider_account_id, u.position
limit %(limit)s;
