-- name: keep
-- A later report of the same run finds more.
update notify.runs as r
set totals = %(totals)s
where r.run_id = %(run_id)s;
