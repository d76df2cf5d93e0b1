-- name: lock
-- Two workers that ask about one login at the same time must not both take the last call.
select pg_advisory_xact_lock(hashtextextended('provider_calls/' || %(source)s, %(provider_account_id)s));

-- name: remove_old
-- Calls that count no more.
delete from etl.provider_calls
where
    provider_account_id = %(provider_account_id)s
    and source = %(source)s
    and called_at <= clock_timestamp() - %(per)s;

-- name: find_wait
-- How long until there is a call: until the oldest of the last `calls` calls is older than the span, and until the end of
-- what the provider said itself. Null if there is one now.
select greatest(
    (
        select max(b.blocked_until) - clock_timestamp()
        from etl.provider_blocks as b
        where
            b.provider_account_id = %(provider_account_id)s
            and b.source = %(source)s
            and b.blocked_until > clock_timestamp()
    ),
    (
        select min(c.called_at) + %(per)s - clock_timestamp()
        from (
            select r.called_at
            from etl.provider_calls as r
            where
                r.provider_account_id = %(provider_account_id)s
                and r.source = %(source)s
                and r.called_at > clock_timestamp() - %(per)s
            order by r.called_at desc
            limit %(calls)s
        ) as c
        having count(*) >= %(calls)s
    )
) as wait;

-- name: record
-- Before the call: one that is made and not recorded would be one too many.
insert into etl.provider_calls (provider_account_id, source) values (%(provider_account_id)s, %(source)s);

-- name: give_back
-- A login is asked by one request at a time, so that its latest call is the one that got an error.
delete from etl.provider_calls as r
using (
    select c.ctid
    from etl.provider_calls as c
    where c.provider_account_id = %(provider_account_id)s and c.source = %(source)s
    order by c.called_at desc
    limit 1
) as latest
where r.ctid = latest.ctid;

-- name: block
-- The provider counts calls that others make, too.
insert into etl.provider_blocks as b (provider_account_id, source, blocked_until)
values (%(provider_account_id)s, %(source)s, clock_timestamp() + %(wait)s)
on conflict (provider_account_id, source) do update set blocked_until = excluded.blocked_until;

-- name: count_used
-- Calls that count now, over all active logins of a provider, and how many of these logins have none left.
select
    coalesce(sum(u.calls), 0)::bigint as used,
    count(*) filter (where u.calls >= %(calls)s or u.is_blocked) as exhausted
from (
    select
        p.provider_account_id,
        (
            select count(*)
            from etl.provider_calls as c
            where
                c.provider_account_id = p.provider_account_id
                and c.source = %(source)s
                and c.called_at > now() - %(per)s
        ) as calls,
        exists (
            select 1
            from etl.provider_blocks as b
            where
                b.provider_account_id = p.provider_account_id
                and b.source = %(source)s
                and b.blocked_until > now()
        ) as is_blocked
    from core.provider_accounts as p
    where p.provider = %(provider)s and p.state = 'active'
) as u;
