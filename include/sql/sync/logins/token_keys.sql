-- name: count_by_key
-- Stored tokens by the id of the key that encrypted them, which follows the first byte; Fernet tokens, of before, name none.
select
    case when get_byte(t.token, 0) = 1 then encode(substr(t.token, 2, 4), 'hex') else '' end as key_id,
    count(*) as tokens
from (
    select p.access_token as token
    from core.provider_accounts as p
    union all
    select k.token
    from etl.provider_tokens as s, unnest(array[s.access_token, s.refresh_token]) as k (token)
) as t
where length(t.token) > 0
group by 1
order by 1;

-- name: page_logins
-- The next tokens of logins that are not encrypted by the first key.
select p.provider_account_id as owner, '' as provider, p.access_token as token
from core.provider_accounts as p
where
    p.provider_account_id > %(after)s
    and length(p.access_token) > 0
    and substr(p.access_token, 1, 5) <> %(header)s
order by p.provider_account_id
limit %(limit)s;

-- name: replace_logins
-- A token that was replaced meanwhile stays: it is encrypted by the first key already.
update core.provider_accounts as p set access_token = n.new
from unnest(%(owners)s::bigint[], %(old)s::bytea[], %(new)s::bytea[]) as n (owner, old, new)
where p.provider_account_id = n.owner and p.access_token = n.old;

-- name: page_access
-- The next access tokens of OAuth 2 that are not encrypted by the first key.
select t.owner, t.provider, t.access_token as token
from etl.provider_tokens as t
where
    (t.owner, t.provider) > (%(after)s, %(after_provider)s)
    and length(t.access_token) > 0
    and substr(t.access_token, 1, 5) <> %(header)s
order by t.owner, t.provider
limit %(limit)s;

-- name: replace_access
-- As `replace_logins`.
update etl.provider_tokens as t set access_token = n.new
from
    unnest(%(owners)s::bigint[], %(providers)s::text[], %(old)s::bytea[], %(new)s::bytea[])
        as n (owner, provider, old, new)
where t.owner = n.owner and t.provider = n.provider and t.access_token = n.old;

-- name: page_refresh
-- The next refresh tokens of clients that are not encrypted by the first key.
select t.owner, t.provider, t.refresh_token as token
from etl.provider_tokens as t
where
    (t.owner, t.provider) > (%(after)s, %(after_provider)s)
    and length(t.refresh_token) > 0
    and substr(t.refresh_token, 1, 5) <> %(header)s
order by t.owner, t.provider
limit %(limit)s;

-- name: replace_refresh
-- As `replace_logins`.
update etl.provider_tokens as t set refresh_token = n.new
from
    unnest(%(owners)s::bigint[], %(providers)s::text[], %(old)s::bytea[], %(new)s::bytea[])
        as n (owner, provider, old, new)
where t.owner = n.owner and t.provider = n.provider and t.refresh_token = n.old;

-- name: find_canary
-- The known text as it is stored.
select c.sealed
from etl.key_canary as c;

-- name: set_canary
-- The one that is stored already stays, unless it is the one that is replaced.
insert into etl.key_canary as c (sealed)
values (%(new)s)
on conflict (is_only) do update set sealed = excluded.sealed
where c.sealed = %(old)s;

-- name: find_some_token
-- Any token of a login.
select p.provider_account_id as owner, '' as provider, p.access_token as token
from core.provider_accounts as p
where length(p.access_token) > 0
order by p.provider_account_id desc
limit 1;
