-- name: save
-- What is said again changes nothing, so that it stays known since when. A user who is being deleted is waited for, and gone then.
insert into notify.consents as kept (user_id, category, granted)
select u.user_id, %(category)s, %(granted)s
from core.users as u
where u.user_id = %(user_id)s
for key share of u
on conflict (user_id, category) do update set
    granted = excluded.granted,
    changed_at = now()
where kept.granted <> excluded.granted
returning kept.user_id;

-- name: find_user_id
-- A user by the id that the application gave them.
select u.user_id
from core.users as u
where u.reference = %(reference)s;

-- name: list_by_user
-- All that a user said.
select k.category, k.granted, k.changed_at
from notify.consents as k
where k.user_id = %(user_id)s
order by k.category;
