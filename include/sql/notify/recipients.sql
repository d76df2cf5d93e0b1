-- name: find_positions
-- Where a user stands in an audience; several times, if it is not one of users. Only the position is asked of the statement, so that Postgres
-- need not work out what the messages of all others say.
select r.position
from ({recipients}) as r
where r.user_id = %(user_id)s
order by r.position desc;

-- name: count
-- How many recipients a run would have.
select count(*) as recipients
from ({bounds}) as b;

-- name: find_user
-- What is known of a user, whom an audience may lack.
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
