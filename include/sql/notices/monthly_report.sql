-- name: bounds
-- Users who may have spent anything: those with an active provider account.
select u.user_id as position
from core.users as u
where
    u.created_at < %(as_of)s
    and exists (
        select 1
        from core.provider_accounts as p
        where p.user_id = u.user_id and p.state = 'active'
    );

-- name: recipients
-- Amounts are returned as text, so that no digit is lost. Spending is summed by currency, never across currencies.
-- Transactions that their user ignores do not count.
select
    u.user_id as position,
    u.user_id,
    %(period)s as dedupe_key,
    to_char((%(period)s || '-01')::date, 'FMMonth YYYY') as month,
    coalesce(s.spending, '[]') as spending
from core.users as u
left join lateral (
    select
        jsonb_agg(
            jsonb_build_object('currency', m.currency, 'amount', m.amount::text, 'payments', m.payments)
            order by m.currency
        ) as spending
    from (
        select
            t.currency,
            sum(t.amount) as amount,
            count(*) as payments
        from core.provider_accounts as p
        inner join core.effective_transactions as t using (provider_account_id)
        where
            p.user_id = u.user_id
            and p.state = 'active'
            and t.amount > 0
            and t.currency is not null
            and not t.pending
            and not t.is_ignored
            and t.dated_on >= (%(period)s || '-01')::date
            and t.dated_on < (%(period)s || '-01')::date + interval '1 month'
        group by t.currency
    ) as m
) as s on true
where
    u.user_id > %(after)s
    and u.user_id < %(stop)s
    and u.created_at < %(as_of)s
    and exists (
        select 1
        from core.provider_accounts as p
        where p.user_id = u.user_id and p.state = 'active'
    )
order by u.user_id
limit %(limit)s;
