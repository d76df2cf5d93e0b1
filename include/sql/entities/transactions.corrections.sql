-- name: carried_corrections
-- What users corrected on a pending transaction, for the one that replaces it, and on along a chain of them, whichever of
-- the rows came first; step 0 is the corrected one itself. It starts from the few corrections of the batch's logins and
-- looks up what replaces each. What was carried before is left out, and a ring of transactions that replace each other is
-- left after 16 steps.
with recursive carried as (
    select
        c.provider_account_id,
        c.transaction_id,
        c.category,
        c.merchant_name,
        c.note,
        c.is_ignored,
        null::text as carried_from,
        c.corrected_at,
        c.corrected_by,
        0 as step
    from incoming_cursors as m
    cross join lateral (
        select k.*
        from core.corrections as k
        where k.provider_account_id = m.provider_account_id
        offset 0
    ) as c
    where num_nonnulls(c.category, c.merchant_name, c.note, c.is_ignored) > 0
    union all
    select
        p.provider_account_id,
        t.transaction_id,
        coalesce(own.category, p.category),
        coalesce(own.merchant_name, p.merchant_name),
        coalesce(own.note, p.note),
        coalesce(own.is_ignored, p.is_ignored),
        p.transaction_id,
        coalesce(own.corrected_at, p.corrected_at),
        coalesce(own.corrected_by, p.corrected_by),
        p.step + 1
    from carried as p
    cross join lateral (
        select r.transaction_id
        from core.transactions as r
        where r.provider_account_id = p.provider_account_id and r.pending_transaction_id = p.transaction_id
        offset 0
    ) as t
    left join core.corrections as own
        on own.provider_account_id = p.provider_account_id and own.transaction_id = t.transaction_id
    where not coalesce(p.transaction_id = any(own.carried_from), false) and p.step < 16
)
select
    c.provider_account_id,
    c.transaction_id,
    c.category,
    c.merchant_name,
    c.note,
    c.is_ignored,
    c.carried_from,
    c.corrected_at,
    c.corrected_by,
    c.step
from carried as c;
