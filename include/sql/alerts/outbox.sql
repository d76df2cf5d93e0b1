-- name: enqueue
-- The row is inserted before its mail is sent; a concurrent second caller gets no row, and sends nothing. No row is inserted
-- after an alert that supersedes this one, such as that the run failed.
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
-- Discard unsent mails of some kinds about the run; a newer one contains all that they say, or they are out of date.
update etl.promises set withdrawn_at = now()
where
    dag_id = %(dag_id)s
    and run_id = %(run_id)s
    and kind = any(%(kinds)s)
    and promise_id <> %(promise_id)s
    and sent_at is null
    and withdrawn_at is null;

-- name: claim_unsent
-- Claim mails that could not be sent, the oldest first: the attempt failed, or its lease expired without a result. Mails
-- claimed longer ago than the maximum age are not retried.
update etl.promises as p set claimed_at = now(), attempts = p.attempts + 1, error = null
from (
    select u.promise_id
    from etl.promises as u
    where
        u.sent_at is null
        and u.withdrawn_at is null
        and (u.error is not null or u.claimed_at < now() - %(lease)s)
        and u.claimed_at > now() - %(max_age)s
        and u.promise_id <> all(%(except_ids)s)
    order by u.promise_id
    limit %(limit)s
    for update skip locked
) as unsent
where p.promise_id = unsent.promise_id
returning p.promise_id, p.kind, p.dag_id, p.run_id, p.subject, p.body, p.html;

-- name: mark_sent
-- The server accepted the mail.
update etl.promises set sent_at = now(), error = null
where promise_id = %(promise_id)s;

-- name: mark_failed
-- The mail could not be sent; the next alert of any run retries it.
update etl.promises set error = %(error)s
where promise_id = %(promise_id)s and sent_at is null;

-- name: alerts_of_run
-- Mails about a run so far, sent or not.
select p.kind, p.promised_by as deadline_at, p.sent_at
from etl.promises as p
where p.dag_id = %(dag_id)s and p.run_id = %(run_id)s
order by p.promise_id;
