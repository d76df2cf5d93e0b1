-- name: bounds
-- Users who may have spent anything: those with an active provider account, or with transactions of the month. These
-- count whatever became of their login since. `offset 0` keeps Postgres from reading all transactions of the month.
select u.user_id as position
from core.users as u
where
    u.created_at < %(as_of)s
    and exists (
        select 1
        from core.provider_accounts as p
        where
            p.user_id = u.user_id
            and (
                p.state = 'active'
                or exists (
                    select 1
                    from core.transactions as t
                    where
                        t.provider_account_id = p.provider_account_id
                        and t.removed_at is null
                        and t.dated_on >= (%(period)s || '-01')::date
                        and t.dated_on < (%(period)s || '-01')::date + interval '1 month'
                    offset 0
                )
            )
    );

-- name: recipients
-- Amounts are returned as text, so that no digit is lost. Spending is summed by currency, never across currencies.
-- Transactions that their user ignores do not count. Those of any login do, whatever its state, except what ended: of a
-- login that was linked again, the money counts once.
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
        where
            p.user_id = u.user_id
            and (
                p.state = 'active'
                or exists (
                    select 1
                    from core.transactions as t
                    where
                        t.provider_account_id = p.provider_account_id
                        and t.removed_at is null
                        and t.dated_on >= (%(period)s || '-01')::date
                        and t.dated_on < (%(period)s || '-01')::date + interval '1 month'
                    offset 0
                )
            )
    )
order by u.user_id
limit %(limit)s;
