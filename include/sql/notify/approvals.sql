-- name: request
-- A run that was just planned waits for a person.
update notify.runs as r
set
    state = 'held',
    reason = %(reason)s
where r.run_id = %(run_id)s and r.state = 'running'
returning r.run_id;

-- name: decide
-- The answer of a person. A run that does not wait any more, since somebody resumed or cancelled it, stays as it is.
update notify.runs as r
set
    state = %(state)s,
    reason = '',
    ended_at = case when %(state)s = 'cancelled' then now() end
where
    r.run_id = %(run_id)s
    and r.state = 'held'
    and starts_with(r.reason, %(prefix)s)
returning r.run_id;
