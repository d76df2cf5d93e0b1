-- name: audience
-- Users who may have moved money: those with an active provider account, or with transactions of the month. These
-- count whatever became of their login since. `offset 0` keeps Postgres from reading all transactions of the month.
select u.user_id
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

-- name: bounds
-- The whole audience, for planning.
select a.user_id as position
from ({audience}) as a;

-- name: recipients
-- What moved on a user's accounts in the month, by currency, beside the month before and the average of the year before. Amounts are text, so
-- that no digit is lost, and are never added across currencies. Months are those of the bank's dates, which have no time zone.
-- Final transactions in an ISO currency count, with what their user corrected, and without those that the user ignores. They count whatever
-- became of their login; of one that was linked again, the earlier transactions have ended, so that money counts once.
-- The user's own money is neither spent nor received. It is
-- * a payment of a credit card, or money to or from savings and investments, as the provider says;
-- * what pays a debt: money that reaches a card or a loan, unless its category says that it is a refund;
-- * a half of a pair: a transfer, or a transaction without category, beside the same amount in the same currency the other way, in another
--   account of the user, at most `pair_days` apart. Halves of one amount are paired in their order within a stretch of days without a longer
--   gap, so that none belongs to two pairs.
-- A transfer without its other half went to somebody else, or came from them, as far as can be known.
-- A refund reduces what its category cost. What came in without a category, or with one of the user's own, was received.
-- The average is that of the full months that are known, of which there must be three: a history that begins within a month lacks a part of it.
-- One user is computed at a time, from an index range of each login, so that a page needs little memory.
select
    u.user_id as position,
    u.user_id,
    %(period)s as dedupe_key,
    to_char(d.month_on, 'FMMonth YYYY') as month,
    to_char(d.previous_on, 'FMMonth') as previous_month,
    coalesce(r.currencies, '[]') as currencies,
    coalesce(b.missing, '[]') as missing
from ({audience}) as u
cross join (
    select
        m.month_on,
        (m.month_on - interval '1 month')::date as previous_on,
        (m.month_on + interval '1 month')::date as next_on,
        (m.month_on - interval '1 year')::date - 4 as read_from,
        (m.month_on + interval '1 month')::date + 4 as read_to,
        4 as pair_days
    from (select (%(period)s || '-01')::date as month_on) as m
    offset 0
) as d
left join lateral (
    with found as materialized (
        select
            p.provider_account_id,
            t.transaction_id,
            p.provider_account_id || '/' || t.account_id as account,
            t.amount,
            t.currency,
            hashtextextended(t.currency || abs(t.amount), 0) as size,
            t.dated_on,
            t.category,
            coalesce(nullif(btrim(t.merchant_name), ''), nullif(btrim(t.description), '')) as payee,
            coalesce(t.category_detail, '') in (
                'LOAN_PAYMENTS_CREDIT_CARD_PAYMENT',
                'TRANSFER_OUT_SAVINGS', 'TRANSFER_OUT_INVESTMENT_AND_RETIREMENT_FUNDS',
                'TRANSFER_IN_SAVINGS', 'TRANSFER_IN_INVESTMENT_AND_RETIREMENT_FUNDS'
            )
            or (
                t.amount < 0
                and t.account_id = any(p.debts)
                and coalesce(t.category, 'TRANSFER_IN') in ('TRANSFER_IN', 'TRANSFER_OUT', 'LOAN_PAYMENTS')
            ) as is_own,
            coalesce(t.category, 'TRANSFER_IN') in ('TRANSFER_IN', 'TRANSFER_OUT')
            or coalesce(t.category_detail, '') = 'LOAN_PAYMENTS_CREDIT_CARD_PAYMENT' as may_be_half
        from (
            select
                l.provider_account_id,
                array(
                    select a.account_id
                    from core.accounts as a
                    where a.provider_account_id = l.provider_account_id and a.type in ('credit', 'loan')
                ) as debts
            from core.provider_accounts as l
            where l.user_id = u.user_id
        ) as p
        cross join lateral (
            select
                e.account_id, e.transaction_id, e.amount, e.currency, e.dated_on, e.merchant_name, e.description, e.category,
                e.category_detail
            from core.effective_transactions as e
            where
                e.provider_account_id = p.provider_account_id
                and e.dated_on >= d.read_from
                and e.dated_on < d.read_to
                and e.amount <> 0
                and e.currency is not null
                and not e.pending
                and not e.is_ignored
            offset 0
        ) as t
    ),
    halves as materialized (
        select
            f.*,
            bool_or(f.amount > 0) over (partition by f.size) and bool_or(f.amount < 0) over (partition by f.size) as is_two_way,
            f.dated_on - lag(f.dated_on) over (
                partition by f.size
                order by f.dated_on, f.provider_account_id, f.transaction_id
            ) > d.pair_days as begins_stretch
        from found as f
        where f.may_be_half
    ),
    stretches as (
        select
            h.*,
            count(*) filter (where h.begins_stretch) over (
                partition by h.size
                order by h.dated_on, h.provider_account_id, h.transaction_id
            ) as stretch
        from halves as h
        where h.is_two_way
    ),
    numbered as (
        select
            s.*,
            row_number() over (
                partition by s.size, s.stretch, s.amount > 0
                order by s.dated_on, s.provider_account_id, s.transaction_id
            ) as ordinal
        from stretches as s
    ),
    moves as materialized (
        select
            m.currency,
            m.amount,
            m.dated_on,
            date_trunc('month', m.dated_on)::date as month_on,
            m.payee,
            case
                when m.category is null then 'Other'
                when m.category = 'TRANSFER_OUT' then 'Transfers and cash'
                when m.category <> upper(m.category) then m.category
                else left(m.category, 1) || replace(lower(substr(m.category, 2)), '_', ' ')
            end as category,
            case
                when m.is_own then 'own'
                when m.category in ('INCOME', 'TRANSFER_IN') then 'received'
                when m.amount < 0 and (m.category is null or m.category <> upper(m.category)) then 'received'
                else 'spent'
            end as kind
        from (
            select
                n.currency, n.amount, n.dated_on, n.payee, n.category,
                n.is_own
                or (
                    count(*) over pair = 2
                    and min(n.account) over pair <> max(n.account) over pair
                    and max(n.dated_on) over pair - min(n.dated_on) over pair <= d.pair_days
                ) as is_own
            from numbered as n
            window pair as (partition by n.size, n.stretch, n.ordinal)
            union all
            select h.currency, h.amount, h.dated_on, h.payee, h.category, h.is_own
            from halves as h
            where not h.is_two_way
            union all
            select f.currency, f.amount, f.dated_on, f.payee, f.category, f.is_own
            from found as f
            where not f.may_be_half
        ) as m
        where m.dated_on < d.next_on
    ),
    known as materialized (
        select
            k.first_on,
            (extract(year from age(d.month_on, k.first_on)) * 12 + extract(month from age(d.month_on, k.first_on)))::int as months
        from (
            select (date_trunc('month', min(f.dated_on) - 1) + interval '1 month')::date as first_on from found as f
        ) as k
    ),
    totals as (
        select
            m.currency,
            count(*) filter (where m.month_on = d.month_on and m.kind = 'spent' and m.amount > 0) as payments,
            coalesce(sum(m.amount) filter (where m.month_on = d.month_on and m.kind = 'spent'), 0) as spent,
            coalesce(-sum(m.amount) filter (where m.month_on = d.month_on and m.kind = 'received'), 0) as received,
            coalesce(sum(m.amount) filter (where m.month_on = d.month_on and m.kind = 'own' and m.amount > 0), 0) as own,
            coalesce(sum(m.amount) filter (where m.month_on = d.previous_on and m.kind = 'spent'), 0) as previous,
            coalesce(
                sum(m.amount) filter (where m.month_on >= k.first_on and m.month_on < d.month_on and m.kind = 'spent'), 0
            ) as earlier,
            k.months
        from moves as m
        cross join known as k
        group by m.currency, k.months
        having bool_or(m.month_on = d.month_on)
    )
    select
        jsonb_agg(
            jsonb_build_object(
                'currency', t.currency,
                'payments', t.payments,
                'spent', t.spent::text,
                'received', t.received::text,
                'own', case when t.own > 0 then t.own::text end,
                'previous', case when t.months >= 1 then t.previous::text end,
                'previous_change', case when t.months >= 1 then abs(t.spent - t.previous)::text end,
                'previous_sign', case when t.months >= 1 then sign(t.spent - t.previous)::int end,
                'average', case when t.months >= 3 then v.average::text end,
                'average_change', case when t.months >= 3 then abs(t.spent - v.average)::text end,
                'average_sign', case when t.months >= 3 then sign(t.spent - v.average)::int end,
                'average_months', t.months,
                'categories', coalesce(c.categories, '[]'),
                'largest', coalesce(l.largest, '[]')
            )
            order by t.payments desc, t.currency
        ) as currencies
    from totals as t
    cross join lateral (select case when t.months > 0 then t.earlier / t.months end as average) as v
    cross join lateral (
        select
            jsonb_agg(
                jsonb_build_object('name', g.name, 'amount', g.amount::text, 'percent', g.percent)
                order by g.name = 'Other', g.amount desc, g.name
            ) as categories
        from (
            select
                s.name,
                s.amount,
                greatest(0, round(100 * s.amount / nullif(greatest(max(s.amount) over (), 0), 0)))::int as percent
            from (
                select case when n.place < 8 then n.name else 'Other' end as name, sum(n.amount) as amount
                from (
                    select
                        m.category as name,
                        sum(m.amount) as amount,
                        row_number() over (order by m.category = 'Other', sum(m.amount) desc, m.category) as place
                    from moves as m
                    where m.currency = t.currency and m.month_on = d.month_on and m.kind = 'spent'
                    group by m.category
                ) as n
                group by 1
            ) as s
            where s.amount <> 0
        ) as g
    ) as c
    cross join lateral (
        select
            jsonb_agg(
                jsonb_build_object('payee', n.payee, 'amount', n.amount::text, 'paid_on', to_char(n.dated_on, 'FMDD FMMonth'))
                order by n.amount desc, n.dated_on, n.payee
            ) as largest
        from (
            select m.payee, m.amount, m.dated_on
            from moves as m
            where m.currency = t.currency and m.month_on = d.month_on and m.kind = 'spent' and m.amount > 0
            order by m.amount desc, m.dated_on, m.payee
            limit 5
        ) as n
    ) as l
) as r on true
left join lateral (
    select
        jsonb_agg(
            jsonb_build_object(
                'bank', p.institution_name,
                'since', to_char(p.state_since at time zone 'utc', 'FMDD FMMonth YYYY')
            )
            order by p.state_since, p.provider_account_id
        ) as missing
    from core.provider_accounts as p
    where
        p.user_id = u.user_id
        and p.state = 'needs_login'
        and p.state_since < %(as_of)s
) as b on true
where
    u.user_id > %(after)s
    and u.user_id < %(stop)s
order by u.user_id
limit %(limit)s;
