-- name: logins_of_transactions
-- Logins that have a transaction of this id. The id is unique only within a login, and no index begins with it: each
-- login is looked up in turn.
select p.provider_account_id
from core.provider_accounts as p
cross join lateral (
    select
    from core.transactions as k
    where k.provider_account_id = p.provider_account_id and k.transaction_id = %(id)s
    offset 0
) as t
order by p.provider_account_id;

-- name: transactions
-- The current version of a transaction, with all columns that the table has.
select k.*
from core.transactions as k
where k.provider_account_id = %(provider_account_id)s and k.transaction_id = %(id)s;

-- name: superseded_transactions
-- Its superseded versions, in the order in which each was replaced.
select h.*
from core.transactions_history as h
where h.provider_account_id = %(provider_account_id)s and h.transaction_id = %(id)s
order by h.superseded_at, h.observed_at;

-- name: logins_of_accounts
-- Logins that have an account of this id, as for transactions.
select p.provider_account_id
from core.provider_accounts as p
cross join lateral (
    select
    from core.accounts as k
    where k.provider_account_id = p.provider_account_id and k.account_id = %(id)s
    offset 0
) as t
order by p.provider_account_id;

-- name: accounts
-- The current version of an account, with all columns that the table has.
select k.*
from core.accounts as k
where k.provider_account_id = %(provider_account_id)s and k.account_id = %(id)s;

-- name: superseded_accounts
-- Its superseded versions, in the order in which each was replaced.
select h.*
from core.accounts_history as h
where h.provider_account_id = %(provider_account_id)s and h.account_id = %(id)s
order by h.superseded_at, h.observed_at;
