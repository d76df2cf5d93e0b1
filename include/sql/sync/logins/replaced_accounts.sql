-- name: lock_users
-- Logins of a user are compared, replaced and restored one after the other, and never while one of them is enrolled.
select u.user_id
from core.users as u
where
    u.user_id in (
        select p.user_id
        from core.provider_accounts as p
        where p.provider_account_id = any(%(provider_account_ids)s)
    )
order by u.user_id
for no key update;

-- name: lock_users_of_batch
-- The users of the staged logins that are still to be compared, before rows of their accounts are locked: whoever links or
-- restores a login locks its user first, and its accounts afterwards.
select u.user_id
from core.users as u
where
    u.user_id in (
        select p.user_id
        from incoming_cursors as m
        inner join core.provider_accounts as p using (provider_account_id)
        where p.compared_at is null
    )
order by u.user_id
for no key update;

-- name: lock_cursors
-- No load writes rows of these logins until the transaction ends. In the order of loads, so that they cannot deadlock.
select c.provider_account_id
from etl.cursors as c
where c.provider_account_id = any(%(provider_account_ids)s)
order by c.provider_account_id, c.feed
for update;

-- name: match
-- Accounts that are also accounts of another login of the same user at the same institution: by persistent id where both
-- have one, else by mask, type, subtype and currency, if that names one account on either side. Where the institution of
-- a login is unknown, only the persistent id tells. Whichever login was linked last is the new one.
-- A pair that a person undid is not found again, in neither direction.
with given as (
    select g.provider_account_id, g.account_id, g.persistent_id, g.mask, g.type, g.subtype, g.currency
    from unnest(
        %(provider_account_ids)s::bigint[],
        %(account_ids)s::text[],
        %(persistent_ids)s::text[],
        %(masks)s::text[],
        %(types)s::text[],
        %(subtypes)s::text[],
        %(currencies)s::text[]
    ) as g (provider_account_id, account_id, persistent_id, mask, type, subtype, currency)
),
same as (
    select
        g.provider_account_id,
        g.account_id,
        o.provider_account_id as other_provider_account_id,
        a.account_id as other_account_id,
        case when g.persistent_id = a.persistent_id then 'persistent_id' else 'mask' end as matched_by,
        (p.linked_at, p.provider_account_id) > (o.linked_at, o.provider_account_id) as is_newer
    from given as g
    inner join core.provider_accounts as p using (provider_account_id)
    inner join core.provider_accounts as o
        on
            o.user_id = p.user_id
            and o.provider = p.provider
            and o.provider_account_id <> p.provider_account_id
            and coalesce(o.institution_id = p.institution_id, true)
    inner join core.accounts as a
        on
            a.provider_account_id = o.provider_account_id
            and (
                a.persistent_id = g.persistent_id
                or (
                    o.institution_id = p.institution_id
                    and (a.persistent_id is null or g.persistent_id is null)
                    and a.mask = g.mask
                    and (a.type, a.subtype, coalesce(a.currency, a.unofficial_currency))
                    is not distinct from (g.type, g.subtype, g.currency)
                )
            )
),
-- Two logins that are compared at once find each other twice.
pairs as (
    select distinct
        case when s.is_newer then s.other_provider_account_id else s.provider_account_id end as old_provider_account_id,
        case when s.is_newer then s.other_account_id else s.account_id end as old_account_id,
        case when s.is_newer then s.provider_account_id else s.other_provider_account_id end as new_provider_account_id,
        case when s.is_newer then s.account_id else s.other_account_id end as new_account_id,
        s.matched_by
    from same as s
),
counted as (
    select
        p.*,
        count(*) over (
            partition by p.old_provider_account_id, p.old_account_id, p.new_provider_account_id
        ) as pairs_of_old,
        count(*) over (
            partition by p.new_provider_account_id, p.new_account_id, p.old_provider_account_id
        ) as pairs_of_new
    from pairs as p
)
select c.old_provider_account_id, c.old_account_id, c.new_provider_account_id, c.new_account_id, c.matched_by
from counted as c
where
    (c.matched_by = 'persistent_id' or (c.pairs_of_old = 1 and c.pairs_of_new = 1))
    and not exists (
        select 1
        from core.replaced_accounts as r
        where
            r.old_provider_account_id = c.old_provider_account_id
            and r.old_account_id = c.old_account_id
            and r.new_provider_account_id = c.new_provider_account_id
            and r.undone_at is not null
    )
    and not exists (
        select 1
        from core.replaced_accounts as r
        where
            r.old_provider_account_id = c.new_provider_account_id
            and r.old_account_id = c.new_account_id
            and r.new_provider_account_id = c.old_provider_account_id
            and r.undone_at is not null
    )
order by c.old_provider_account_id, c.old_account_id, c.new_provider_account_id;

-- name: record
-- Remember a pair of accounts; one that is known stays as it is.
insert into core.replaced_accounts (
    old_provider_account_id, old_account_id, new_provider_account_id, new_account_id, matched_by, was_closed
)
values (
    %(old_provider_account_id)s,
    %(old_account_id)s,
    %(new_provider_account_id)s,
    %(new_account_id)s,
    %(matched_by)s,
    exists (
        select 1
        from core.accounts as a
        where
            a.provider_account_id = %(old_provider_account_id)s
            and a.account_id = %(old_account_id)s
            and a.closed_on is not null
    )
)
on conflict do nothing
returning old_account_id;

-- name: replace_login
-- The earlier login is not synced any more, unless it has an open account that no later login has: then only the accounts
-- that are the same count no more. One that is unlinked stays so, and one that was replaced before keeps its own
-- successor.
update core.provider_accounts as p set
    state = case p.state when 'unlinked' then p.state else 'replaced' end,
    state_reason = case p.state when 'unlinked' then p.state_reason else 'linked again' end,
    state_since = case p.state when 'unlinked' then p.state_since else now() end,
    next_try_at = null,
    failed_tries = 0,
    replaced_by = %(new_provider_account_id)s
where
    p.provider_account_id = %(old_provider_account_id)s
    and p.replaced_by is null
    and not exists (
        select 1
        from core.accounts as a
        where
            a.provider_account_id = p.provider_account_id
            and a.closed_on is null
            and not exists (
                select 1
                from core.replaced_accounts as r
                where
                    r.old_provider_account_id = a.provider_account_id
                    and r.old_account_id = a.account_id
                    and r.undone_at is null
            )
    )
returning p.provider_account_id;

-- name: close_accounts
-- The balances of the replaced accounts count no more. The rows are locked in the order of their keys, as merges do.
with locked as (
    select a.provider_account_id, a.account_id
    from core.accounts as a
    where
        a.provider_account_id = %(old_provider_account_id)s
        and a.closed_on is null
        and exists (
            select 1
            from core.replaced_accounts as r
            where
                r.old_provider_account_id = a.provider_account_id
                and r.old_account_id = a.account_id
                and r.undone_at is null
        )
    order by a.account_id
    for no key update
)
update core.accounts as a set
    closed_on = (now() at time zone 'utc')::date,
    observed_at = greatest(a.observed_at, now())
from locked as l
where a.provider_account_id = l.provider_account_id and a.account_id = l.account_id;

-- name: counterparts
-- The logins that replace accounts of a login.
select distinct r.new_provider_account_id
from core.replaced_accounts as r
where r.old_provider_account_id = %(old_provider_account_id)s and r.undone_at is null
order by r.new_provider_account_id;

-- name: reverse
-- A login that was replaced is linked again itself: now it is the newest, and its pairs point the other way. Return the
-- logins that it replaces.
with former as (
    delete from core.replaced_accounts as r
    where r.old_provider_account_id = %(provider_account_id)s and r.undone_at is null
    returning
        r.old_provider_account_id,
        r.old_account_id,
        r.new_provider_account_id,
        r.new_account_id,
        r.matched_by
)
insert into core.replaced_accounts (
    old_provider_account_id, old_account_id, new_provider_account_id, new_account_id, matched_by, was_closed
)
select
    f.new_provider_account_id,
    f.new_account_id,
    f.old_provider_account_id,
    f.old_account_id,
    f.matched_by,
    exists (
        select 1
        from core.accounts as a
        where
            a.provider_account_id = f.new_provider_account_id
            and a.account_id = f.new_account_id
            and a.closed_on is not null
    )
from former as f
order by f.new_provider_account_id, f.new_account_id
on conflict do nothing
returning old_provider_account_id;

-- name: undo
-- Forget the pairs of an earlier login.
update core.replaced_accounts set undone_at = now()
where old_provider_account_id = %(old_provider_account_id)s and undone_at is null
returning old_account_id;

-- name: confirm
-- A person says that the accounts of an earlier login are the same as the later ones. They are compared again by the next
-- batch of either.
update core.replaced_accounts set confirmed_at = coalesce(confirmed_at, now()), ended_feeds = '{}'
where old_provider_account_id = %(old_provider_account_id)s and undone_at is null;

-- name: restore_login
-- A replaced login is synced again, unless it was unlinked: without an access token it stays so.
update core.provider_accounts set
    state = case state when 'unlinked' then state else 'active' end,
    state_reason = case state when 'unlinked' then state_reason else 'replacement undone' end,
    state_since = case state when 'unlinked' then state_since else now() end,
    replaced_by = null
where provider_account_id = %(old_provider_account_id)s and replaced_by is not null;

-- name: state_of
-- What state a login is in.
select p.state
from core.provider_accounts as p
where p.provider_account_id = %(old_provider_account_id)s;

-- name: reopen_accounts
-- The balances of the accounts that were replaced count again, but not of those that were closed already when they were
-- replaced first; their next snapshot decides whether they are still open. The rows are locked in the order of their keys, as merges do.
with locked as (
    select a.provider_account_id, a.account_id
    from core.accounts as a
    where
        a.provider_account_id = %(old_provider_account_id)s
        and a.closed_on is not null
        and exists (
            select 1
            from core.replaced_accounts as r
            where
                r.old_provider_account_id = a.provider_account_id
                and r.old_account_id = a.account_id
                and r.undone_at is null
                and not r.was_closed
        )
    order by a.account_id
    for no key update
)
update core.accounts as a set closed_on = null, observed_at = greatest(a.observed_at, now())
from locked as l
where a.provider_account_id = l.provider_account_id and a.account_id = l.account_id;

-- name: request_full_read
-- Changes and removals that came for rows which had ended as replaced are lost: the next run reads everything.
update etl.cursors set reread = true
where provider_account_id = %(old_provider_account_id)s;

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

-- name: mark_ended
-- The rows of the staged logins were compared since the later login was read; until rows of either are loaded, nothing
-- changes. Cursors that are locked keep others from writing these pairs.
update core.replaced_accounts as r set ended_feeds = r.ended_feeds || %(feed)s::text
from incoming_cursors as m
inner join core.provider_accounts as n using (provider_account_id)
inner join etl.cursors as c on c.provider_account_id = m.provider_account_id and c.feed = %(feed)s
where
    r.new_provider_account_id = m.provider_account_id
    and r.undone_at is null
    and %(feed)s <> all(r.ended_feeds)
    and c.moved_at >= n.linked_at;

-- name: mark_compared
-- The accounts of the staged logins were compared with those of their users' other logins. One without accounts, or whose
-- institution is unknown, is compared again with its next snapshot.
with locked as (
    select p.provider_account_id
    from core.provider_accounts as p
    inner join incoming_cursors as m using (provider_account_id)
    where
        p.provider_account_id = any(array(select o.provider_account_id from incoming_cursors as o))
        and p.compared_at is null
        and p.institution_id is not null
        and exists (
            select 1
            from core.accounts as a
            where a.provider_account_id = p.provider_account_id
            offset 0
        )
    order by p.provider_account_id
    for no key update of p
)
update core.provider_accounts as p set compared_at = now()
from locked as l
where p.provider_account_id = l.provider_account_id;

-- name: replaced_by
-- The earlier logins that a login replaces.
select distinct r.old_provider_account_id
from core.replaced_accounts as r
where r.new_provider_account_id = %(provider_account_id)s and r.undone_at is null
order by r.old_provider_account_id;

-- name: has_accounts
-- Whether the warehouse has bank accounts at all: a catalogue need not declare them, and then no login is ever replaced.
select to_regclass('core.accounts') is not null;
