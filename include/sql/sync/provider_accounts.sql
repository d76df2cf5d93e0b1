-- name: enrol
-- Insert a login at a bank, or replace the access token of an enrolled one of the same user; the latter reactivates a
-- stopped account. Returns no row if the login is enrolled for another user.
with owner as (
    insert into core.users as u (reference) values (%(user)s)
    on conflict (reference) do update set reference = excluded.reference
    returning u.user_id
)
insert into core.provider_accounts as p (user_id, provider, item_id, access_token)
select o.user_id, %(provider)s, %(item_id)s, %(access_token)s
from owner as o
on conflict (provider, item_id) do update set
    access_token = excluded.access_token,
    token_version = p.token_version + 1,
    state = 'active',
    state_reason = null,
    state_since = case when p.state = 'active' then p.state_since else now() end,
    next_try_at = null,
    failed_tries = 0
where p.user_id = excluded.user_id
returning p.provider_account_id;

-- name: page
-- The next active provider accounts of a chunk, each with the cursor of the feed.
select
    p.provider_account_id,
    p.access_token,
    coalesce(c.value, '') as cursor,
    coalesce(c.reread, false) as needs_full_read,
    coalesce(c.generation, 0) as generation
from core.provider_accounts as p
left join etl.cursors as c on c.provider_account_id = p.provider_account_id and c.feed = %(feed)s
where
    p.provider = %(provider)s
    and p.state = 'active'
    and p.provider_account_id >= %(start)s
    and p.provider_account_id < %(stop)s
order by p.provider_account_id
limit %(limit)s;

-- name: stop
-- Stop syncing an account until its user has fixed it. An account that was enrolled again in the meantime has another
-- token and stays active.
update core.provider_accounts set state = 'needs_login', state_reason = %(reason)s, state_since = now()
where
    provider_account_id = %(provider_account_id)s
    and state = 'active'
    and access_token = %(access_token)s;
