-- name: request
-- A run that was just planned waits for a person.
update notify.runs as r
set
    state = 'held',
    reason = %(reason)s
where r.run_id = %(run_id)s and r.state = 'running'
returning r.run_id;

-- name: approve
-- A person agrees. A run that does not wait any more, since somebody paused, resumed or cancelled it, stays as it is; so does one that is held
-- since the database was restored.
update notify.runs as r
set
    state = 'running',
    reason = ''
where
    r.run_id = %(run_id)s
    and r.state = 'held'
    and starts_with(r.reason, %(prefix)s)
returning r.run_id;

-- name: reject
-- A person refuses, or nobody has answered: the Dag skips the senders, so the run would never end. One that somebody has begun to send
-- meanwhile is left to them.
update notify.runs as r
set
    state = 'cancelled',
    is_refused = false,
    reason = '',
    ended_at = now()
where
    r.run_id = %(run_id)s
    and r.state in ('running', 'paused', 'held')
    and not exists (
        select 1
        from notify.chunks as c
        where c.run_id = r.run_id and c.attempt > 0
    )
returning r.run_id;
