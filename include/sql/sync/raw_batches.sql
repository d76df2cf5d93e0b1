-- name: record
-- Insert the row of a sealed attempt; sealing it again changes nothing.
insert into etl.raw_batches (
    source, chunk_id, attempt, content_hash, path, accounts, provider_account_ids, pages, bytes, opened_at
)
values (
    %(source)s,
    %(chunk_id)s,
    %(attempt)s,
    %(content_hash)s,
    %(path)s,
    %(accounts)s,
    %(provider_account_ids)s,
    %(pages)s,
    %(bytes)s,
    %(opened_at)s
)
on conflict (chunk_id, attempt) do nothing;

-- name: find_by_attempt
-- The batch of an attempt, if it was sealed.
select r.raw_id
from etl.raw_batches as r
where r.chunk_id = %(chunk_id)s and r.attempt = %(attempt)s;

-- name: find
-- A batch by its id.
select
    r.raw_id,
    r.source,
    r.content_hash,
    r.path,
    r.accounts,
    r.pages,
    r.bytes,
    r.opened_at,
    r.sealed_at,
    r.purged_at
from etl.raw_batches as r
where r.raw_id = %(raw_id)s;

-- name: lock
-- Serialize the loads of one batch. `no key update` does not block the insertion of rows that refer to the batch: a
-- replay that merges this batch again would otherwise wait here, while it holds accounts that a load of this batch
-- waits for.
select r.raw_id
from etl.raw_batches as r
where r.raw_id = %(raw_id)s
for no key update;

-- name: sealed_between
-- Batches of some sources that still exist, or those that were purged, in the order in which they were sealed.
select r.raw_id
from etl.raw_batches as r
where
    r.source = any(%(sources)s)
    and (r.purged_at is not null) = %(purged)s
    and (%(since)s::timestamptz is null or r.sealed_at >= %(since)s)
    and (%(until)s::timestamptz is null or r.sealed_at < %(until)s)
order by r.raw_id;
