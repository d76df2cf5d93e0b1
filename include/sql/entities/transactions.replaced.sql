-- name: repeated
-- Transactions of earlier logins that were linked again, each with the one of the new login that repeats it: in the same
-- account, of the same day, amount and currency, and in the same place among equal ones. A row that ended as `replaced`
-- keeps its place, so that no row of the new login is matched twice.
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
),
earlier as (
    select
        p.new_provider_account_id,
        p.new_account_id,
        t.provider_account_id,
        t.account_id,
        t.transaction_id,
        t.dated_on,
        t.amount,
        t.currency,
        t.unofficial_currency,
        row_number() over (
            partition by
                p.new_provider_account_id,
                t.provider_account_id,
                t.account_id,
                t.dated_on,
                t.amount,
                t.currency,
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
        p.old_account_id,
        t.provider_account_id,
        t.account_id,
        t.transaction_id,
        t.dated_on,
        t.amount,
        t.currency,
        t.unofficial_currency,
        row_number() over (
            partition by
                p.old_provider_account_id,
                p.old_account_id,
                t.provider_account_id,
                t.dated_on,
                t.amount,
                t.currency,
                t.unofficial_currency
            order by t.transaction_id
        ) as ordinal
    from pairs as p
    inner join core.transactions as t
        on t.provider_account_id = p.new_provider_account_id and t.account_id = p.new_account_id
    where t.removed_at is null
)
select
    e.provider_account_id,
    e.transaction_id,
    n.provider_account_id as new_provider_account_id,
    n.transaction_id as new_transaction_id
from earlier as e
inner join renewed as n
    on
        n.provider_account_id = e.new_provider_account_id
        and n.account_id = e.new_account_id
        and n.old_provider_account_id = e.provider_account_id
        and n.old_account_id = e.account_id
        and (n.dated_on, n.amount, n.ordinal) = (e.dated_on, e.amount, e.ordinal)
        and (n.currency, n.unofficial_currency) is not distinct from (e.currency, e.unofficial_currency);

-- name: end_replaced
-- A login that was linked again brings the money of the earlier one once more, under other ids. In the accounts that
-- are the same, it ends the earlier rows of the days that its feed covers, those that are pending, which nobody would
-- post, and of the other rows those that it repeats one for one: what only the earlier login knew stays.
-- The feed covers the days that the provider promised, as far as it brought rows. Before it was loaded since the login
-- was linked last, and without a promise, it covers none.
with covered as (
    select
        r.old_provider_account_id,
        r.old_account_id,
        min(
            case
                when n.history_days is not null
                    then greatest(oldest.dated_on, (n.enrolled_at at time zone 'utc')::date - n.history_days)
            end
        ) as first_on
    from core.replaced_accounts as r
    inner join core.provider_accounts as n on n.provider_account_id = r.new_provider_account_id
    inner join etl.cursors as c
        on
            c.provider_account_id = r.new_provider_account_id
            and c.feed = %(feed)s
            and c.moved_at >= n.linked_at
    inner join lateral (
        select min(t.dated_on) as dated_on
        from core.transactions as t
        where
            t.provider_account_id = r.new_provider_account_id
            and t.account_id = r.new_account_id
            and t.removed_at is null
    ) as oldest on oldest.dated_on is not null
    where
        r.undone_at is null
        and exists (
            select 1
            from incoming_cursors as m
            where m.provider_account_id in (r.old_provider_account_id, r.new_provider_account_id)
        )
    group by r.old_provider_account_id, r.old_account_id
),
repeated as (
    {repeated}
)
update core.transactions as target set
    removed_at = now(),
    removed_for = 'replaced',
    observed_at = greatest(target.observed_at, now())
from covered as c
where
    target.provider_account_id = c.old_provider_account_id
    and target.account_id = c.old_account_id
    and target.removed_at is null
    and (
        target.pending
        or target.dated_on > c.first_on
        or exists (
            select 1
            from repeated as m
            where
                m.provider_account_id = target.provider_account_id
                and m.transaction_id = target.transaction_id
        )
    )
returning target.provider_account_id, target.transaction_id;

-- name: repeated_corrections
-- What users corrected on transactions before their login was linked again, for those that repeat them.
select
    m.new_provider_account_id as provider_account_id,
    m.new_transaction_id as transaction_id,
    c.category,
    c.merchant_name,
    c.note,
    c.is_ignored,
    c.transaction_id as carried_from,
    c.corrected_at,
    c.corrected_by,
    1 as step
from core.corrections as c
inner join (
    {repeated}
) as m using (provider_account_id, transaction_id)
where num_nonnulls(c.category, c.merchant_name, c.note, c.is_ignored) > 0;

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
