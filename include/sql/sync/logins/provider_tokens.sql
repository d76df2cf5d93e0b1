-- name: find
-- What is stored for all logins of a provider. A token is not used in its last seconds, since a request takes some.
select
    case when t.expires_at > now() + %(margin)s then t.access_token end as access_token,
    t.refresh_token
from etl.provider_tokens as t
where t.provider = %(provider)s and t.owner = 0;

-- name: find_of_login
-- What is stored for a login: its refresh token is what it was linked with, or the latest one that came for it.
select
    case
        when t.expires_at > now() + %(margin)s and t.token_version = p.token_version then t.access_token
    end as access_token,
    p.access_token as refresh_token,
    coalesce(t.lost_at is not null and t.lost_version = p.token_version, false) as may_be_lost,
    p.token_version as version
from core.provider_accounts as p
left join etl.provider_tokens as t on t.provider = p.provider and t.owner = p.provider_account_id
where p.provider_account_id = %(owner)s;

-- name: claim_renewal
-- One worker renews a token: a refresh token may serve only once. A lease that is over is that of a worker which died: what
-- it may have lost is of the token that the login has, since it has no other yet. Returns whether there was one, and the
-- end of the lease, by which the worker that renews knows its claim again.
insert into etl.provider_tokens as t (provider, owner, renewing_until)
values (%(provider)s, %(owner)s, now() + %(lease)s)
on conflict (provider, owner) do update set
    renewing_until = excluded.renewing_until,
    lost_at = case when t.renewing_until is null then t.lost_at else now() end,
    lost_version = case
        when t.renewing_until is null then t.lost_version
        else (
            select p.token_version
            from core.provider_accounts as p
            where p.provider_account_id = %(owner)s
        )
    end
where t.renewing_until is null or t.renewing_until < now()
returning t.renewing_until as until, coalesce(t.lost_at = now(), false) as is_lost;

-- name: give_up_renewal
-- The next worker may try. A request that was not answered may have reached the provider, which may have replaced the token
-- that was sent, and no token that was linked since. A worker whose lease is over must not end the claim of another.
update etl.provider_tokens as t set
    renewing_until = null,
    lost_at = case when %(is_answered)s then t.lost_at else now() end,
    lost_version = case when %(is_answered)s then t.lost_version else %(version)s end
where t.provider = %(provider)s and t.owner = %(owner)s and t.renewing_until = %(claimed_until)s;

-- name: save
-- A response without a refresh token leaves the stored one valid. The token is that of the link whose refresh token was
-- sent, and a login that was linked again meanwhile does not use it. A worker whose lease is over stores nothing: another
-- may have stored a newer token. Returns a row if the claim is still that of the caller.
update etl.provider_tokens as t set
    access_token = %(access_token)s,
    refresh_token = case when %(owner)s = 0 then coalesce(%(refresh_token)s, t.refresh_token) end,
    expires_at = now() + %(lifetime)s,
    token_version = %(version)s,
    renewing_until = null,
    lost_at = null,
    lost_version = null,
    renewed_at = now()
where t.provider = %(provider)s and t.owner = %(owner)s and t.renewing_until = %(claimed_until)s
returning true as is_claimed;

-- name: replace_refresh_token
-- The next refresh token of a login, unless the login was linked again meanwhile. It is no new link, so that the version
-- stays.
update core.provider_accounts as p set access_token = %(refresh_token)s
where
    p.provider_account_id = %(owner)s
    and p.state <> 'unlinked'
    and p.token_version = %(version)s;

-- name: find_current
-- The stored access token, whatever its age.
select t.access_token
from etl.provider_tokens as t
where t.provider = %(provider)s and t.owner = %(owner)s and t.access_token is not null and t.expires_at is not null;

-- name: discard
-- Forget an access token, unless another worker has replaced it already.
update etl.provider_tokens set expires_at = null
where provider = %(provider)s and owner = %(owner)s and access_token = %(stored)s;
