-- name: add
-- The recipients of a run, instead of those that the statements of its notice select, and the values for its templates.
insert into notify.announcements (run_id, dedupe_key, users, said)
values (%(run_id)s, %(dedupe_key)s, %(user_ids)s, %(template_values)s);

-- name: bounds
-- As in the SQL file of a notice; positions are user ids.
select u.user_id as position
from notify.announcements as a
cross join unnest(a.users) as u (user_id)
where a.run_id = %(run_id)s;

-- name: recipients
-- As in the SQL file of a notice. There are so few users that each page can afford to read them all.
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
-- How many of the given users are not recipients of the run; 0 if its list of users was purged.
select count(*) as users
from notify.announcements as a
cross join unnest(%(user_ids)s::bigint[]) as u (user_id)
where
    a.run_id = %(run_id)s
    and cardinality(a.users) > 0
    and u.user_id <> all(a.users);
