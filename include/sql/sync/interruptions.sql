-- name: begin
-- A row that is still there belongs to a try that did not end. The login that it was processing is a culprit from now on.
-- Logins of the same chunk that killed the process of an earlier run are told, too.
insert into etl.interruptions as i (step, subject_id, entity, deaths)
values (%(step)s, %(subject_id)s, %(entity)s, 0)
on conflict (step, subject_id, entity) do update set
    deaths = i.deaths + 1,
    culprits = case when i.suspect is null then i.culprits else i.culprits || i.suspect end,
    suspect = null,
    updated_at = now()
returning
    i.deaths,
    i.culprits,
    array(
        select q.provider_account_id
        from etl.quarantines as q
        inner join etl.chunks as c on q.provider_account_id >= c.start and q.provider_account_id < c.stop
        where
            q.entity = i.entity
            and q.rule = 'killed'
            and c.chunk_id = case i.step
                when 'download' then i.subject_id
                else (
                    select r.chunk_id
                    from etl.raw_batches as r
                    where r.raw_id = i.subject_id
                )
            end
    ) as killers;

-- name: suspect
-- Committed before the login is processed, so that the next try finds it if this one dies.
update etl.interruptions set
    suspect = %(suspect)s,
    updated_at = now()
where step = %(step)s and subject_id = %(subject_id)s and entity = %(entity)s;

-- name: release
-- A try that failed in order has not died: `begin` of the next one counts as many deaths as this one.
update etl.interruptions set
    deaths = deaths - 1,
    suspect = null,
    updated_at = now()
where step = %(step)s and subject_id = %(subject_id)s and entity = %(entity)s;

-- name: end
-- The step ended in order.
delete from etl.interruptions
where step = %(step)s and subject_id = %(subject_id)s and entity = %(entity)s;

-- name: record_left_out
-- The login's part of a raw batch was not typed; a replay must not take it as read.
insert into etl.left_out (chunk_id, attempt, provider_account_id, outcome, reason)
select r.chunk_id, r.attempt, %(provider_account_id)s, 'quarantined', %(reason)s
from etl.raw_batches as r
where r.raw_id = %(raw_id)s
on conflict do nothing;

-- name: remove_old
-- Steps that nobody tries again.
delete from etl.interruptions
where updated_at < %(before)s;
