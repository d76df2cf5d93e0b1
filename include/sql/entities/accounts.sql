-- name: closed_on
-- Closed while the account of a login that was linked later replaces it, whichever batch comes late or is replayed.
select (min(r.replaced_at) at time zone 'utc')::date as closed_on
from core.replaced_accounts as r
where
    r.old_provider_account_id = i.provider_account_id
    and r.old_account_id = i.account_id
    and r.undone_at is null;

-- name: before_merge
-- A later snapshot may repeat an older balance, since the provider caches them: the balances of the row stay if they are
-- as of a later time, which must not lie in the future, and are in the same currency.
with newer as (
    select
        i.provider_account_id,
        i.account_id,
        i.observed_at,
        c.balance_current,
        c.balance_available,
        c.balance_limit,
        c.balance_as_of
    from incoming as i
    cross join lateral (
        select k.*
        from core.accounts as k
        where k.provider_account_id = i.provider_account_id and k.account_id = i.account_id
        offset 0
    ) as c
    where
        c.balance_as_of > i.balance_as_of
        and c.balance_as_of <= i.observed_at
        and (c.currency, c.unofficial_currency) is not distinct from (i.currency, i.unofficial_currency)
)
update incoming as target set
    balance_current = n.balance_current,
    balance_available = n.balance_available,
    balance_limit = n.balance_limit,
    balance_as_of = n.balance_as_of
from newer as n
where
    target.provider_account_id = n.provider_account_id
    and target.account_id = n.account_id
    and target.observed_at = n.observed_at;
