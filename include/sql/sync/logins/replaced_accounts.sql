-- name: match
-- Accounts of the same user's earlier logins at the same institution that are accounts of the new login: by persistent
-- id where both have one, else by mask, type, subtype and currency, if that names one account on either side.
-- A pair that a person undid is not found again.
with added as (
    select a.account_id, a.persistent_id, a.mask, a.type, a.subtype, a.currency
    from unnest(
        %(account_ids)s::text[],
        %(persistent_ids)s::text[],
        %(masks)s::text[],
        %(types)s::text[],
        %(subtypes)s::text[],
        %(currencies)s::text[]
    ) as a (account_id, persistent_id, mask, type, subtype, currency)
),
earlier as (
    select
        p.provider_account_id,
        a.account_id,
        a.persistent_id,
        a.mask,
        a.type,
        a.subtype,
        coalesce(a.currency, a.unofficial_currency) as currency
    from core.provider_accounts as new
    inner join core.provider_accounts as p
        on
            p.user_id = new.user_id
            and p.provider = new.provider
            and p.institution_id = new.institution_id
            and p.provider_account_id <> new.provider_account_id
            and p.enrolled_at <= new.enrolled_at
    inner join core.accounts as a on a.provider_account_id = p.provider_account_id
    where new.provider_account_id = %(provider_account_id)s
),
pairs as (
    select
        e.provider_account_id,
        e.account_id as old_account_id,
        a.account_id as new_account_id,
        case when e.persistent_id = a.persistent_id then 'persistent_id' else 'mask' end as matched_by,
        count(*) over (partition by e.provider_account_id, e.account_id) as pairs_of_old,
        count(*) over (partition by e.provider_account_id, a.account_id) as pairs_of_new
    from earlier as e
    inner join added as a
        on
            e.persistent_id = a.persistent_id
            or (
                (e.persistent_id is null or a.persistent_id is null)
                and e.mask = a.mask
                and (e.type, e.subtype, e.currency) is not distinct from (a.type, a.subtype, a.currency)
            )
)
select p.provider_account_id as old_provider_account_id, p.old_account_id, p.new_account_id, p.matched_by
from pairs as p
where
    (p.matched_by = 'persistent_id' or (p.pairs_of_old = 1 and p.pairs_of_new = 1))
    and not exists (
        select 1
        from core.replaced_accounts as r
        where
            r.old_provider_account_id = p.provider_account_id
            and r.old_account_id = p.old_account_id
            and r.new_provider_account_id = %(provider_account_id)s
            and r.undone_at is not null
    )
order by p.provider_account_id, p.old_account_id;

-- name: record
-- Remember a pair of accounts; one that a person undid and now wants again counts again.
insert into core.replaced_accounts (
    old_provider_account_id, old_account_id, new_provider_account_id, new_account_id, matched_by
)
values (
    %(old_provider_account_id)s, %(old_account_id)s, %(new_provider_account_id)s, %(new_account_id)s, %(matched_by)s
)
on conflict (old_provider_account_id, old_account_id, new_provider_account_id) do update set
    new_account_id = excluded.new_account_id,
    matched_by = excluded.matched_by,
    replaced_at = now(),
    undone_at = null;

-- name: replace_login
-- The earlier login is not synced any more. One that was replaced before keeps its own successor.
update core.provider_accounts set
    state = 'replaced',
    state_reason = 'linked again',
    state_since = now(),
    next_try_at = null,
    failed_tries = 0,
    replaced_by = %(new_provider_account_id)s
where provider_account_id = %(old_provider_account_id)s and state <> 'replaced';

-- name: close_accounts
-- The balances of the replaced accounts count no more.
update core.accounts as a set closed_on = (now() at time zone 'utc')::date
from core.replaced_accounts as r
where
    r.old_provider_account_id = %(old_provider_account_id)s
    and r.undone_at is null
    and a.provider_account_id = r.old_provider_account_id
    and a.account_id = r.old_account_id
    and a.closed_on is null;

-- name: undo
-- Forget the pairs of an earlier login, and return their accounts.
update core.replaced_accounts set undone_at = now()
where old_provider_account_id = %(old_provider_account_id)s and undone_at is null
returning old_account_id;

-- name: restore_login
-- The earlier login is synced again, if its access token is still there.
update core.provider_accounts set
    state = case when access_token is null then 'unlinked' else 'active' end,
    state_reason = 'replacement undone',
    state_since = now(),
    replaced_by = null
where provider_account_id = %(old_provider_account_id)s and state = 'replaced';

-- name: reopen_accounts
-- The balances of these accounts count again; their next snapshot decides whether they are still open.
update core.accounts set closed_on = null
where provider_account_id = %(old_provider_account_id)s and account_id = any(%(account_ids)s);

-- name: concern_batch
-- Whether the staged batch has logins that replace others, or were replaced.
select
    exists (
        select 1
        from incoming_cursors as m
        inner join core.replaced_accounts as r on r.new_provider_account_id = m.provider_account_id
        where r.undone_at is null
    )
    or exists (
        select 1
        from incoming_cursors as m
        inner join core.replaced_accounts as r on r.old_provider_account_id = m.provider_account_id
        where r.undone_at is null
    );

-- name: replaced_by
-- The earlier logins that a login replaces.
select distinct r.old_provider_account_id
from core.replaced_accounts as r
where r.new_provider_account_id = %(provider_account_id)s and r.undone_at is null
order by r.old_provider_account_id;
