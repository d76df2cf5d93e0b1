-- name: drop_compared
-- A transaction that merges several batches compares their logins one after the other.
drop table if exists pg_temp.compared_rows;

-- name: compare_replaced
-- The rows of earlier logins that were linked again, in accounts that are the same: what the later login repeats, and what
-- it should have.
-- The accounts are found from the batch's logins, and the rows from the accounts, each by an index: `offset 0` keeps the
-- planner from reading whole tables. Where nothing came of either login, nothing changed, unless they were never compared.
-- Before the later login was read since it was linked last, it is no evidence of anything.
--
-- A row is repeated by one of the same day, amount and currency, and in the same place among equal ones. Of the others,
-- banks date some differently after the login is linked again: those of the same amount and currency that lie within three
-- days are matched, the latest first. A row that ended as `replaced` keeps its place, so that no row is matched twice.
--
-- A row that nothing repeats should be there on a day that the later login covers: within the history that the provider
-- promised, and between days of which it has records that are at most `max_gap` days apart, or as long after the last of
-- them. Its first day may be a part of a day; and one old record does not cover the years until the next one. If more rows
-- are lacking than an account may lose, it is no evidence unless a person confirms it: the accounts may be different. Nor is
-- it while a record of the later login is rejected, which may be any of them.
create temp table compared_rows on commit drop as
with found as materialized (
    select k.*
    from incoming_cursors as m
    cross join lateral (
        select e.*
        from core.replaced_accounts as e
        where
            e.new_provider_account_id = m.provider_account_id
            and e.undone_at is null
            and (m.read > 0 or %(feed)s <> all(e.ended_feeds))
        offset 0
    ) as k
    union
    select k.*
    from incoming_cursors as m
    cross join lateral (
        select e.*
        from core.replaced_accounts as e
        where
            e.old_provider_account_id = m.provider_account_id
            and e.undone_at is null
            and (m.read > 0 or %(feed)s <> all(e.ended_feeds))
        offset 0
    ) as k
),
pairs as materialized (
    select
        row_number() over () as pair,
        f.old_provider_account_id,
        f.old_account_id,
        f.new_provider_account_id,
        f.new_account_id,
        (n.enrolled_at at time zone 'utc')::date - n.history_days as promised_on,
        exists (
            select 1
            from etl.rejects as r
            where
                r.entity = 'transactions'
                and r.provider_account_id = f.new_provider_account_id
                and r.closed_at is null
            offset 0
        ) as has_rejects,
        f.confirmed_at is not null as is_confirmed
    from found as f
    inner join core.provider_accounts as n on n.provider_account_id = f.new_provider_account_id
    inner join etl.cursors as c on c.provider_account_id = f.new_provider_account_id and c.feed = %(feed)s
    where c.moved_at >= n.linked_at
),
earlier as materialized (
    select
        p.pair,
        t.*,
        row_number() over (
            partition by p.pair, t.dated_on, t.amount, t.currency, t.unofficial_currency
            order by t.transaction_id
        ) as place
    from pairs as p
    cross join lateral (
        select
            k.transaction_id,
            k.dated_on,
            k.amount,
            k.currency,
            k.unofficial_currency,
            k.pending,
            k.removed_at is null as is_live
        from core.transactions as k
        where
            k.provider_account_id = p.old_provider_account_id
            and k.account_id = p.old_account_id
            and (k.removed_at is null or k.removed_for = 'replaced')
        offset 0
    ) as t
),
renewed as materialized (
    select
        p.pair,
        t.*,
        row_number() over (
            partition by p.pair, t.dated_on, t.amount, t.currency, t.unofficial_currency
            order by t.transaction_id
        ) as place
    from pairs as p
    cross join lateral (
        select k.transaction_id, k.dated_on, k.amount, k.currency, k.unofficial_currency
        from core.transactions as k
        where
            k.provider_account_id = p.new_provider_account_id
            and k.account_id = p.new_account_id
            and k.removed_at is null
        offset 0
    ) as t
),
same as materialized (
    select e.pair, e.transaction_id, n.transaction_id as new_transaction_id
    from earlier as e
    inner join renewed as n
        on
            (n.pair, n.dated_on, n.amount, n.place) = (e.pair, e.dated_on, e.amount, e.place)
            and (n.currency, n.unofficial_currency) is not distinct from (e.currency, e.unofficial_currency)
),
other_earlier as materialized (
    select e.*
    from earlier as e
    where not exists (
        select 1
        from same as s
        where (s.pair, s.transaction_id) = (e.pair, e.transaction_id)
    )
),
other_renewed as materialized (
    select n.*
    from renewed as n
    where not exists (
        select 1
        from same as s
        where (s.pair, s.new_transaction_id) = (n.pair, n.transaction_id)
    )
),
-- Rows that may be the same money, each with every other one of its days.
near as materialized (
    select
        e.pair,
        e.amount,
        e.currency,
        e.unofficial_currency,
        e.transaction_id,
        e.dated_on,
        n.transaction_id as new_transaction_id,
        n.dated_on as new_dated_on
    from other_earlier as e
    inner join other_renewed as n
        on
            (n.pair, n.amount) = (e.pair, e.amount)
            and (n.currency, n.unofficial_currency) is not distinct from (e.currency, e.unofficial_currency)
            and n.dated_on between e.dated_on - %(max_shift)s::int and e.dated_on + %(max_shift)s::int
),
sides as (
    select distinct
        n.pair,
        n.amount,
        n.currency,
        n.unofficial_currency,
        false as is_new,
        n.transaction_id,
        n.dated_on
    from near as n
    union all
    select distinct
        n.pair,
        n.amount,
        n.currency,
        n.unofficial_currency,
        true,
        n.new_transaction_id,
        n.new_dated_on
    from near as n
),
steps as (
    select
        s.*,
        s.dated_on - lag(s.dated_on) over (
            partition by s.pair, s.amount, s.currency, s.unofficial_currency
            order by s.dated_on
        ) > %(max_shift)s::int as begins_group
    from sides as s
),
grouped as (
    select
        s.*,
        count(*) filter (where s.begins_group) over (
            partition by s.pair, s.amount, s.currency, s.unofficial_currency
            order by s.dated_on
        ) as group_number
    from steps as s
),
placed as materialized (
    select
        g.*,
        row_number() over (
            partition by g.pair, g.amount, g.currency, g.unofficial_currency, g.group_number, g.is_new
            order by g.dated_on desc, g.transaction_id desc
        ) as place
    from grouped as g
),
repeated as materialized (
    select s.pair, s.transaction_id, s.new_transaction_id
    from same as s
    union all
    select e.pair, e.transaction_id, n.transaction_id
    from placed as e
    inner join placed as n
        on
            n.is_new
            and (n.pair, n.amount, n.group_number, n.place) = (e.pair, e.amount, e.group_number, e.place)
            and (n.currency, n.unofficial_currency) is not distinct from (e.currency, e.unofficial_currency)
    where not e.is_new and abs(n.dated_on - e.dated_on) <= %(max_shift)s::int
),
gaps as (
    select
        d.*,
        d.dated_on - lag(d.dated_on) over (
            partition by d.pair
            order by d.dated_on
        ) > %(max_gap)s::int as begins_span
    from (
        select distinct n.pair, n.dated_on
        from renewed as n
    ) as d
),
numbered as (
    select
        g.*,
        count(*) filter (where g.begins_span) over (
            partition by g.pair
            order by g.dated_on
        ) as span_number
    from gaps as g
),
spans as materialized (
    select
        n.pair,
        min(n.dated_on) as first_on,
        max(n.dated_on) + case
            when n.span_number = max(max(n.span_number)) over (partition by n.pair) then %(max_gap)s::int
            else 0
        end as covered_until
    from numbered as n
    group by n.pair, n.span_number
),
judged as (
    select
        e.pair,
        e.transaction_id,
        e.pending,
        e.is_live,
        r.new_transaction_id,
        s.first_on is not null and e.dated_on >= p.promised_on and not e.pending as is_covered
    from earlier as e
    inner join pairs as p using (pair)
    left join repeated as r on (r.pair, r.transaction_id) = (e.pair, e.transaction_id)
    left join spans as s on s.pair = e.pair and e.dated_on > s.first_on and e.dated_on <= s.covered_until
),
counted as (
    select
        j.*,
        j.is_covered and j.new_transaction_id is null as is_lacking,
        count(*) filter (where j.is_covered and j.new_transaction_id is null) over account
        > greatest(
            %(always_tolerated)s::int, %(tolerated_share)s::float8 * count(*) filter (where j.is_covered) over account
        ) as is_excessive
    from judged as j
    window account as (partition by j.pair)
)
select
    p.old_provider_account_id as provider_account_id,
    c.transaction_id,
    p.new_provider_account_id,
    c.new_transaction_id,
    c.is_live
    and (
        c.pending
        or c.new_transaction_id is not null
        or (c.is_lacking and (not c.is_excessive or p.is_confirmed) and not p.has_rejects)
    ) as ends,
    case
        when not (c.is_live and c.is_lacking) then null
        when c.is_excessive and not p.is_confirmed then 'they are too many to end them'
        when p.has_rejects then 'records of the later login were rejected, and may be these'
    end as kept_for
from counted as c
inner join pairs as p using (pair)
where
    c.new_transaction_id is not null
    or c.is_live and (c.pending or c.is_lacking);

-- name: end_replaced
-- End the rows that a later login repeats or should have, and those that are pending, which nobody would post: what only
-- the earlier login knew stays. Only rows of these logins are read, whatever the plan.
update core.transactions as target set
    removed_at = now(),
    removed_for = 'replaced',
    observed_at = greatest(target.observed_at, now())
from (
    select distinct c.provider_account_id, c.transaction_id
    from compared_rows as c
    where c.ends
) as e
where
    target.provider_account_id = any(array(select c.provider_account_id from compared_rows as c where c.ends))
    and target.provider_account_id = e.provider_account_id
    and target.transaction_id = e.transaction_id
    and target.removed_at is null
returning target.provider_account_id, target.transaction_id;

-- name: count_kept
-- Rows that later logins should have, and that do not end all the same, by login and reason.
select c.provider_account_id, c.kept_for, count(distinct c.transaction_id)::int as kept
from compared_rows as c
where c.kept_for is not null
group by c.provider_account_id, c.kept_for
order by c.provider_account_id, c.kept_for;

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
inner join compared_rows as m using (provider_account_id, transaction_id)
where
    m.new_transaction_id is not null
    and num_nonnulls(c.category, c.merchant_name, c.note, c.is_ignored) > 0;

-- name: restore_replaced
-- Bring back the rows of an earlier login that `end_replaced` ended, in the accounts that no later login has any more.
update core.transactions as target set
    removed_at = null,
    removed_for = null,
    observed_at = greatest(target.observed_at, now())
where
    target.provider_account_id = %(old_provider_account_id)s
    and target.removed_for = 'replaced'
    and not exists (
        select 1
        from core.replaced_accounts as r
        where
            r.old_provider_account_id = target.provider_account_id
            and r.old_account_id = target.account_id
            and r.undone_at is null
    );
