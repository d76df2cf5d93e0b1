-- name: find_positions
-- Positions of a user in an audience; there are several if the audience consists of accounts or payments. Only the position is selected from
-- `recipients`, so that Postgres can skip computing the template values of everybody else.
select r.position
from ({recipients}) as r
where r.user_id = %(user_id)s
order by r.position desc;

-- name: at_positions
-- The recipients at given positions. The statement of the notice is evaluated once for each of them, between its neighbours; which columns it
-- returns is up to the notice.
select r.*
from unnest(%(positions)s::bigint[]) as wanted_recipients (wanted_position)
cross join lateral ({recipients}) as r;

-- name: count
-- Number of recipients that a run would have.
select count(*) as recipients
from ({bounds}) as b;

-- name: find_user
-- A user, who need not be in an audience, with the states of their provider accounts.
select
    u.created_at,
    (
        select coalesce(jsonb_object_agg(p.state, p.accounts), '{}')
        from (
            select a.state, count(*) as accounts
            from core.provider_accounts as a
            where a.user_id = u.user_id
            group by a.state
        ) as p
    ) as provider_accounts
from core.users as u
where u.user_id = %(user_id)s;
