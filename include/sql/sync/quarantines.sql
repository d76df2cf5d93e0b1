-- name: record
-- Record the logins that a load leaves out since too many of their records were rejected: as left out of this batch, and as
-- quarantined until a load of theirs succeeds.
with logins as (
    select
        r.chunk_id,
        r.attempt,
        r.source,
        l.provider_account_id,
        l.read,
        l.rejected,
        l.path,
        l.rule,
        l.reason
    from unnest(
        %(provider_account_ids)s::bigint[],
        %(read)s::int[],
        %(rejected)s::int[],
        %(paths)s::text[],
        %(rules)s::text[],
        %(reasons)s::text[]
    ) as l (provider_account_id, read, rejected, path, rule, reason)
    inner join etl.raw_batches as r on r.raw_id = %(raw_id)s
),
left_out as (
    insert into etl.left_out (chunk_id, attempt, provider_account_id, outcome, reason)
    select l.chunk_id, l.attempt, l.provider_account_id, 'quarantined', l.reason
    from logins as l
    on conflict do nothing
)
insert into etl.quarantines as q (provider_account_id, entity, source, raw_id, read, rejected, path, rule, reason)
select l.provider_account_id, %(entity)s, l.source, %(raw_id)s, l.read, l.rejected, l.path, l.rule, l.reason
from logins as l
on conflict (provider_account_id, entity, source) do update set
    raw_id = excluded.raw_id,
    read = excluded.read,
    rejected = excluded.rejected,
    path = excluded.path,
    rule = excluded.rule,
    reason = excluded.reason,
    last_failed_at = now(),
    failures = q.failures + 1;

-- name: record_killed
-- Its records cannot be counted without reading them, which killed the process. It has no batch if the download died.
insert into etl.quarantines as q (provider_account_id, entity, source, raw_id, read, rejected, path, rule, reason)
values (%(provider_account_id)s, %(entity)s, %(source)s, %(raw_id)s, 0, 0, '', 'killed', %(reason)s)
on conflict (provider_account_id, entity, source) do update set
    raw_id = excluded.raw_id,
    read = excluded.read,
    rejected = excluded.rejected,
    path = excluded.path,
    rule = excluded.rule,
    reason = excluded.reason,
    last_failed_at = now(),
    failures = q.failures + 1;

-- name: release
-- End the quarantine of the logins that are being loaded. A window of past days says nothing about what is new: it ends
-- only the quarantine of a window.
delete from etl.quarantines as q
using incoming_cursors as m
where
    q.provider_account_id = m.provider_account_id
    and q.entity = %(entity)s
    and %(source)s in (q.source, %(own_source)s);

-- name: forget
-- Logins that were left out of a batch are loaded now.
delete from etl.left_out as l
using etl.raw_batches as r
where
    r.raw_id = %(raw_id)s
    and l.chunk_id = r.chunk_id
    and l.attempt = r.attempt
    and l.outcome = 'quarantined'
    and l.provider_account_id = any(%(provider_account_ids)s);

-- name: find
-- The quarantine of a login; that of a window first, since a load of the feed ends both.
select
    q.provider_account_id,
    q.entity,
    q.source,
    q.raw_id,
    q.read,
    q.rejected,
    q.path,
    q.rule,
    q.reason,
    q.quarantined_at,
    q.last_failed_at,
    q.failures
from etl.quarantines as q
left join etl.raw_batches as r using (raw_id)
left join etl.chunks as c using (chunk_id)
where q.provider_account_id = %(provider_account_id)s and q.entity = %(entity)s
order by c.first_day is null, q.source
limit 1;

-- name: latest
-- Quarantined logins, the latest first.
select
    q.provider_account_id,
    q.entity,
    q.source,
    q.raw_id,
    q.read,
    q.rejected,
    q.path,
    q.rule,
    q.reason,
    q.quarantined_at,
    q.last_failed_at,
    q.failures
from etl.quarantines as q
where q.entity = any(%(entities)s)
order by q.last_failed_at desc, q.provider_account_id, q.entity, q.source
limit %(limit)s;
