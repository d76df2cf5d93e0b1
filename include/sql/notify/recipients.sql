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

-- name: sample_positions
-- Positions at even distances in an audience, and the first of each locale, so that a sample of an audience holds each language. Only ids are
-- selected from `recipients`, as in `find_positions`.
with audience as materialized (
    select
        r.position,
        u.locale,
        row_number() over (order by r.position) - 1 as ordinal,
        count(*) over () as recipients
    from ({recipients}) as r
    left join core.users as u using (user_id)
)
select a.position
from audience as a
where a.ordinal %% greatest(ceil(a.recipients / %(size)s::numeric)::bigint, 1) = 0
union
select min(a.position)
from audience as a
group by a.locale
order by position;

-- name: read_preferences
-- How users of a page want to be written to. Most named nothing, and have no row here.
select u.user_id, u.locale, u.time_zone
from core.users as u
where u.user_id = any(%(user_ids)s) and (u.locale is not null or u.time_zone is not null);

-- name: count
-- Number of recipients that a run would have.
select count(*) as recipients
from ({bounds}) as b;

-- name: count_recipients
-- Number of recipients between two positions. Only the position is selected, so that Postgres can skip computing the template values.
select count(*) as recipients
from (
    select r.position
    from ({recipients}) as r
) as c;

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
