-- name: save
-- An unchanged choice is not updated, so that `changed_at` keeps the time of the last change. If the user is being deleted, this waits for the
-- deletion and then inserts nothing.
insert into notify.consents as target (user_id, category, granted)
select u.user_id, %(category)s, %(granted)s
from core.users as u
where u.user_id = %(user_id)s
for key share of u
on conflict (user_id, category) do update set
    granted = excluded.granted,
    changed_at = now()
where target.granted <> excluded.granted
returning target.user_id;

-- name: find_user_id
-- A user by the id that the user has in the application.
select u.user_id
from core.users as u
where u.reference = %(reference)s;

-- name: list_by_user
-- All choices of a user.
select k.category, k.granted, k.changed_at
from notify.consents as k
where k.user_id = %(user_id)s
order by k.category;
