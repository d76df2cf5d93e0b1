-- name: end_replaced
-- A login that was linked again brings the money of the earlier one once more, under other ids. In the accounts that
-- are the same, it ends the earlier rows of the days that its feed covers, and before these only rows that it repeats
-- one for one (same day, amount and currency): what only the earlier login knew stays.
-- Rows that were ended so before keep their place among equal ones, so that nothing is matched twice.
-- The feed covers the days that the provider promised, as far as it brought rows; until it was loaded it covers none.
with pairs as (
    select
        r.old_provider_account_id,
        r.old_account_id,
        r.new_provider_account_id,
        r.new_account_id,
        (n.enrolled_at at time zone 'utc')::date - n.history_days as promised_on
    from core.replaced_accounts as r
    inner join core.provider_accounts as n on n.provider_account_id = r.new_provider_account_id
    inner join etl.cursors as c
        on c.provider_account_id = r.new_provider_account_id and c.feed = %(feed)s and c.generation > 0
    where
        r.undone_at is null
        and exists (
            select 1
            from incoming_cursors as m
            where m.provider_account_id in (r.old_provider_account_id, r.new_provider_account_id)
        )
),
renewed as (
    select
        p.old_provider_account_id,
        p.old_account_id,
        t.dated_on,
        t.amount,
        t.currency,
        t.unofficial_currency,
        greatest(
            min(t.dated_on) over (partition by p.old_provider_account_id, p.old_account_id), p.promised_on
        ) as first_on,
        row_number() over (
            partition by
                p.old_provider_account_id, p.old_account_id, t.dated_on, t.amount, t.currency, t.unofficial_currency
            order by t.transaction_id
        ) as ordinal
    from pairs as p
    inner join core.transactions as t
        on t.provider_account_id = p.new_provider_account_id and t.account_id = p.new_account_id
    where t.removed_at is null
),
covered as (
    select r.old_provider_account_id, r.old_account_id, min(r.first_on) as first_on
    from renewed as r
    group by r.old_provider_account_id, r.old_account_id
),
earlier as (
    select
        t.provider_account_id,
        t.account_id,
        t.transaction_id,
        t.dated_on,
        t.amount,
        t.currency,
        t.unofficial_currency,
        t.removed_at is null as is_live,
        t.pending or t.dated_on > c.first_on as is_covered,
        row_number() over (
            partition by t.provider_account_id, t.account_id, t.dated_on, t.amount, t.currency, t.unofficial_currency
            order by t.transaction_id
        ) as ordinal
    from covered as c
    inner join core.transactions as t
        on t.provider_account_id = c.old_provider_account_id and t.account_id = c.old_account_id
    where t.removed_at is null or t.removed_for = 'replaced'
)
update core.transactions as target set
    removed_at = now(),
    removed_for = 'replaced',
    observed_at = greatest(target.observed_at, now())
from earlier as e
where
    target.provider_account_id = e.provider_account_id
    and target.transaction_id = e.transaction_id
    and e.is_live
    and (
        e.is_covered
        or exists (
            select 1
            from renewed as r
            where
                r.old_provider_account_id = e.provider_account_id
                and r.old_account_id = e.account_id
                and (r.dated_on, r.amount, r.ordinal) = (e.dated_on, e.amount, e.ordinal)
                and (r.currency, r.unofficial_currency) is not distinct from (e.currency, e.unofficial_currency)
        )
    )
returning target.provider_account_id, target.transaction_id;

-- name: restore_replaced
-- Bring back the rows of an earlier login that `end_replaced` ended.
update core.transactions set
    removed_at = null,
    removed_for = null,
    observed_at = greatest(observed_at, now())
where
    provider_account_id = %(old_provider_account_id)s
    and account_id = any(%(account_ids)s)
    and removed_for = 'replaced';

-- name: find_renewed
-- What users corrected on transactions of an earlier login, with the transaction of the new login that repeats each: in
-- the same account, of the same day, amount and currency, and in the same place among equal ones.
with pairs as (
    select r.old_provider_account_id, r.old_account_id, r.new_provider_account_id, r.new_account_id
    from core.replaced_accounts as r
    where
        r.undone_at is null
        and exists (
            select 1
            from incoming_cursors as m
            where m.provider_account_id in (r.old_provider_account_id, r.new_provider_account_id)
        )
        and exists (
            select 1
            from core.corrections as c
            where c.provider_account_id = r.old_provider_account_id
        )
),
earlier as (
    select
        p.new_provider_account_id,
        p.new_account_id,
        t.provider_account_id,
        t.transaction_id,
        t.dated_on,
        t.amount,
        t.currency,
        t.unofficial_currency,
        row_number() over (
            partition by
                p.new_account_id, t.provider_account_id, t.account_id, t.dated_on, t.amount, t.currency,
                t.unofficial_currency
            order by t.transaction_id
        ) as ordinal
    from pairs as p
    inner join core.transactions as t
        on t.provider_account_id = p.old_provider_account_id and t.account_id = p.old_account_id
    where t.removed_at is null or t.removed_for = 'replaced'
),
renewed as (
    select
        p.old_provider_account_id,
        t.provider_account_id,
        t.account_id,
        t.transaction_id,
        t.dated_on,
        t.amount,
        t.currency,
        t.unofficial_currency,
        row_number() over (
            partition by
                p.old_provider_account_id, p.old_account_id, t.dated_on, t.amount, t.currency, t.unofficial_currency
            order by t.transaction_id
        ) as ordinal
    from pairs as p
    inner join core.transactions as t
        on t.provider_account_id = p.new_provider_account_id and t.account_id = p.new_account_id
    where t.removed_at is null
)
select e.provider_account_id, e.transaction_id, n.provider_account_id, n.transaction_id
from core.corrections as c
inner join earlier as e using (provider_account_id, transaction_id)
inner join renewed as n
    on
        n.provider_account_id = e.new_provider_account_id
        and n.account_id = e.new_account_id
        and n.old_provider_account_id = e.provider_account_id
        and (n.dated_on, n.amount, n.ordinal) = (e.dated_on, e.amount, e.ordinal)
        and (n.currency, n.unofficial_currency) is not distinct from (e.currency, e.unofficial_currency)
order by e.provider_account_id, e.transaction_id;
