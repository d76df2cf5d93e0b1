-- name: newly_linked
-- Accounts of the staged logins that were not compared with others since they were linked, if their user has others at
-- the provider.
select
    a.provider_account_id,
    a.account_id,
    a.persistent_id,
    a.mask,
    a.type,
    a.subtype,
    coalesce(a.currency, a.unofficial_currency) as currency
from incoming_cursors as m
inner join core.provider_accounts as p using (provider_account_id)
cross join lateral (
    select k.*
    from core.accounts as k
    where k.provider_account_id = m.provider_account_id
    offset 0
) as a
where
    p.provider_account_id = any(array(select o.provider_account_id from incoming_cursors as o))
    and p.compared_at is null
    and exists (
        select 1
        from core.provider_accounts as o
        where o.user_id = p.user_id and o.provider = p.provider and o.provider_account_id <> p.provider_account_id
        offset 0
    );
