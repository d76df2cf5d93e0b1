-- name: find
-- What a user corrected on a transaction.
select
    c.provider_account_id,
    c.transaction_id,
    c.category,
    c.merchant_name,
    c.note,
    c.is_ignored,
    c.carried_from,
    c.corrected_at,
    c.corrected_by
from core.corrections as c
where c.provider_account_id = %(provider_account_id)s and c.transaction_id = %(transaction_id)s;

-- name: correct
-- Correct a transaction, and those that have replaced it since: whoever corrects a pending transaction that is posted
-- already means the posted one too. A field that is neither given nor cleared stays. `union` ends a ring of transactions
-- that replace each other.
with recursive chain as (
    select t.transaction_id, null::text as carried_from
    from core.transactions as t
    where t.provider_account_id = %(provider_account_id)s and t.transaction_id = %(transaction_id)s
    union
    select r.transaction_id, c.transaction_id
    from chain as c
    inner join core.transactions as r
        on r.provider_account_id = %(provider_account_id)s and r.pending_transaction_id = c.transaction_id
)
insert into core.corrections as target (
    provider_account_id,
    transaction_id,
    category,
    merchant_name,
    note,
    is_ignored,
    carried_from,
    corrected_by
)
select distinct on (c.transaction_id)
    %(provider_account_id)s,
    c.transaction_id,
    %(category)s,
    %(merchant_name)s,
    %(note)s,
    %(is_ignored)s,
    array_remove(array[c.carried_from], null),
    %(corrected_by)s
from chain as c
order by c.transaction_id, c.carried_from nulls first
on conflict (provider_account_id, transaction_id) do update set
    category = case when 'category' = any(%(cleared)s) then null else coalesce(excluded.category, target.category) end,
    merchant_name = case
        when 'merchant_name' = any(%(cleared)s) then null else coalesce(excluded.merchant_name, target.merchant_name)
    end,
    note = case when 'note' = any(%(cleared)s) then null else coalesce(excluded.note, target.note) end,
    is_ignored = case
        when 'is_ignored' = any(%(cleared)s) then null else coalesce(excluded.is_ignored, target.is_ignored)
    end,
    carried_from = case
        when excluded.carried_from <@ target.carried_from then target.carried_from
        else target.carried_from || excluded.carried_from
    end,
    corrected_at = now(),
    corrected_by = excluded.corrected_by
returning
    target.provider_account_id,
    target.transaction_id,
    target.category,
    target.merchant_name,
    target.note,
    target.is_ignored,
    target.carried_from,
    target.corrected_at,
    target.corrected_by;

-- name: carry
-- Copy corrections to the transactions that replace the corrected ones, of this login or another, each once: fields that
-- are corrected there stay, and those that are cleared there later do not return. The inner statement has a row for each
-- copy, with the number of replacements behind it; of several copies for one transaction, the longest chain and then the
-- latest correction fill each field first.
insert into core.corrections as target (
    provider_account_id,
    transaction_id,
    category,
    merchant_name,
    note,
    is_ignored,
    carried_from,
    corrected_at,
    corrected_by
)
select
    c.provider_account_id,
    c.transaction_id,
    (array_agg(c.category order by c.precedence) filter (where c.category is not null))[1],
    (array_agg(c.merchant_name order by c.precedence) filter (where c.merchant_name is not null))[1],
    (array_agg(c.note order by c.precedence) filter (where c.note is not null))[1],
    (array_agg(c.is_ignored order by c.precedence) filter (where c.is_ignored is not null))[1],
    array_agg(distinct c.carried_from),
    (array_agg(c.corrected_at order by c.precedence))[1],
    (array_agg(c.corrected_by order by c.precedence))[1]
from (
    select
        k.*,
        row_number() over (
            partition by k.provider_account_id, k.transaction_id
            order by k.step desc, k.corrected_at desc, k.carried_from
        ) as precedence
    from (
        {carried}
    ) as k
    where k.step > 0
) as c
left join core.corrections as known
    on known.provider_account_id = c.provider_account_id and known.transaction_id = c.transaction_id
where not coalesce(c.carried_from = any(known.carried_from), false)
group by c.provider_account_id, c.transaction_id
order by c.provider_account_id, c.transaction_id
on conflict (provider_account_id, transaction_id) do update set
    category = coalesce(target.category, excluded.category),
    merchant_name = coalesce(target.merchant_name, excluded.merchant_name),
    note = coalesce(target.note, excluded.note),
    is_ignored = coalesce(target.is_ignored, excluded.is_ignored),
    carried_from = target.carried_from || excluded.carried_from;
