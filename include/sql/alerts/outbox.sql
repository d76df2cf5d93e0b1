-- name: enqueue
-- The row goes in before its mail; whoever comes second gets none. Nothing is promised of a run that failed or ended.
insert into etl.promises (dag_id, run_id, kind, promised_by, subject, body, html)
select %(dag_id)s, %(run_id)s, %(kind)s, %(promised_by)s, %(subject)s, %(body)s, %(html)s
where not exists (
    select 1
    from etl.promises as p
    where p.dag_id = %(dag_id)s and p.run_id = %(run_id)s and p.kind = any(%(superseded_by)s)
)
on conflict (dag_id, run_id, kind) do nothing
returning promise_id, kind, dag_id, run_id, subject, body, html;

-- name: discard_unsent
-- Mails of the run that could not be sent yet, now that a newer one says more.
update etl.promises set withdrawn_at = now()
where
    dag_id = %(dag_id)s
    and run_id = %(run_id)s
    and promise_id <> %(promise_id)s
    and sent_at is null
    and withdrawn_at is null;

-- name: claim_unsent
-- Mails that could not be sent, the oldest first: the attempt failed, or nobody came back from it in time. Stale ones are let go.
update etl.promises as p set claimed_at = now(), attempts = p.attempts + 1, error = null
from (
    select w.promise_id
    from etl.promises as w
    where
        w.sent_at is null
        and w.withdrawn_at is null
        and (w.error is not null or w.claimed_at < now() - %(lease)s)
        and w.claimed_at > now() - %(max_age)s
        and w.promise_id <> all(%(except_ids)s)
    order by w.promise_id
    limit %(limit)s
    for update skip locked
) as waiting
where p.promise_id = waiting.promise_id
returning p.promise_id, p.kind, p.dag_id, p.run_id, p.subject, p.body, p.html;

-- name: mark_sent
-- The server took the mail.
update etl.promises set sent_at = now(), error = null
where promise_id = %(promise_id)s;

-- name: mark_failed
-- The server did not take the mail; the next alert tries again.
update etl.promises set error = %(error)s
where promise_id = %(promise_id)s and sent_at is null;

-- name: alerts_of_run
-- What was told of a run so far.
select p.kind, p.promised_by as deadline_at, p.sent_at
from etl.promises as p
where p.dag_id = %(dag_id)s and p.run_id = %(run_id)s
order by p.promise_id;
