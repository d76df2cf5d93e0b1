-- name: add
-- Whom a run is for, in place of what the statements of its notice find.
insert into notify.announcements (run_id, dedupe_key, users, said)
values (%(run_id)s, %(key)s, %(users)s, %(said)s);

-- name: bounds
-- Like that of a notice: the users are the positions.
select u.user_id as position
from notify.announcements as a
cross join unnest(a.users) as u (user_id)
where a.run_id = %(run_id)s;

-- name: recipients
-- Like that of a notice. There are so few that each page may read them all.
select
    u.user_id as position,
    u.user_id,
    a.dedupe_key,
    a.said
from notify.announcements as a
cross join unnest(a.users) as u (user_id)
where
    a.run_id = %(run_id)s
    and u.user_id > %(after)s
    and u.user_id < %(stop)s
order by u.user_id
limit %(limit)s;

-- name: count_unlisted_users
-- How many of some users a run is not for; nothing is known of one whose users were forgotten.
select count(*) as users
from notify.announcements as a
cross join unnest(%(users)s::bigint[]) as u (user_id)
where
    a.run_id = %(run_id)s
    and cardinality(a.users) > 0
    and u.user_id <> all(a.users);
