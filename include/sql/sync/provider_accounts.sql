-- name: enrol
-- A new login at a bank, or a fresh access token for a known one of the same user, which also lets a stopped account go on.
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
    state = 'active',
    stopped_for = null,
    stopped_at = null
where p.user_id = excluded.user_id
returning p.provider_account_id;

-- name: page
-- The next active provider accounts of a chunk, each with the cursor of the feed.
select
    p.provider_account_id,
    p.access_token,
    coalesce(c.value, '') as cursor,
    coalesce(c.reread, false) as needs_full_read
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
-- Leave an account alone until its user has mended it; one that was enrolled again meanwhile has a new token, and goes on.
update core.provider_accounts set state = 'stopped', stopped_for = %(reason)s, stopped_at = now()
where
    provider_account_id = %(provider_account_id)s
    and state = 'active'
    and access_token = %(access_token)s;
