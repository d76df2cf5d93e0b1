-- name: drop_table
-- A transaction that merges several batches stages them one after the other.
drop table if exists pg_temp.incoming_cursors;

-- name: create_table
-- The cursor of each account at which the staged batch starts, and the one at which it ends; and what became of its
-- records when they were typed.
create temp table incoming_cursors (
    provider_account_id bigint primary key,
    cursor_from text not null,
    cursor_to text not null,
    whole boolean not null,
    generation bigint,
    read bigint not null,
    rejected bigint not null,
    fault_path text,
    fault_rule text
) on commit drop;

-- name: copy_cursor_moves
-- Cursors are opaque text of at most 256 characters.
copy incoming_cursors (
    provider_account_id, cursor_from, cursor_to, whole, generation, read, rejected, fault_path, fault_rule
) from stdin (format binary);

-- name: create_missing
-- Insert the cursors of feeds that were never loaded, so that they can be locked.
insert into etl.cursors (provider_account_id, feed)
select m.provider_account_id, %(feed)s
from incoming_cursors as m
order by m.provider_account_id
on conflict do nothing;

-- name: lock
-- In id order, so that two batches with common accounts cannot deadlock.
select c.provider_account_id
from etl.cursors as c
inner join incoming_cursors as m using (provider_account_id)
where c.feed = %(feed)s
order by c.provider_account_id
for update of c;

-- name: lock_of
-- The cursor of one account, whose rows are about to be written without a batch.
select c.provider_account_id
from etl.cursors as c
where c.provider_account_id = %(provider_account_id)s and c.feed = %(feed)s
for update;

-- name: drop_stale_accounts
-- Drop the accounts whose cursor another batch has moved since this one was downloaded, with their rows; the other
-- accounts are loaded. They are recorded, since a replay of this batch must skip them too: the other batch brought
-- their records.
with stale as (
    delete from incoming_cursors as m
    using etl.cursors as c
    where c.provider_account_id = m.provider_account_id and c.feed = %(feed)s and c.value <> m.cursor_from
    returning m.provider_account_id
),
recorded as (
    insert into etl.left_out (chunk_id, attempt, provider_account_id, outcome, reason)
    select
        r.chunk_id,
        r.attempt,
        s.provider_account_id,
        'stale',
        'another batch moved its cursor first'
    from stale as s
    inner join etl.raw_batches as r on r.raw_id = %(raw_id)s
    on conflict do nothing
),
dropped as (
    delete from incoming as i
    using stale as s
    where i.provider_account_id = s.provider_account_id
    returning i.provider_account_id
)
select
    d.provider_account_id,
    count(*)::int as rows
from dropped as d
group by d.provider_account_id;

-- name: drop_recorded_stale_accounts
-- Drop the rows of the accounts that were stale when the batch was first loaded.
with dropped as (
    delete from incoming as i
    using etl.raw_batches as r, etl.left_out as l
    where
        r.raw_id = %(raw_id)s
        and l.chunk_id = r.chunk_id
        and l.attempt = r.attempt
        and l.outcome = 'stale'
        and i.provider_account_id = l.provider_account_id
    returning i.provider_account_id
)
select
    d.provider_account_id,
    count(*)::int as rows
from dropped as d
group by d.provider_account_id;

-- name: clamp_timestamps
-- The cursors define the order of a feed's batches; the clocks of workers differ. The records of a batch therefore count
-- as observed no earlier than the batch that it continues.
-- Usually no cursor is later than the earliest record of the batch. The last condition then spares the check of each
-- row.
with corrected as (
    update incoming as i set observed_at = c.observed_at
    from incoming_cursors as m
    inner join etl.cursors as c using (provider_account_id)
    where
        m.provider_account_id = i.provider_account_id
        and c.feed = %(feed)s
        and c.observed_at > i.observed_at
        and c.observed_at > %(earliest_observed_at)s
    returning i.provider_account_id, i.observed_at
)
insert into etl.clock_corrections (raw_id, provider_account_id, observed_at)
select distinct
    %(raw_id)s,
    c.provider_account_id,
    c.observed_at
from corrected as c
on conflict do nothing;

-- name: reapply_clamped_timestamps
-- Apply the timestamp corrections of the first load.
update incoming as i set observed_at = c.observed_at
from etl.clock_corrections as c
where
    c.raw_id = %(raw_id)s
    and c.provider_account_id = i.provider_account_id
    and c.observed_at > i.observed_at;

-- name: advance
-- Move the cursors; one that does not change is not written.
update etl.cursors as c set
    value = m.cursor_to,
    raw_id = %(raw_id)s,
    moved_at = now(),
    observed_at = greatest(c.observed_at, latest.observed_at),
    told_at = greatest(c.told_at, latest.observed_at),
    reread = c.reread and not m.whole
from incoming_cursors as m
left join (
    select i.provider_account_id, max(i.observed_at) as observed_at
    from incoming as i
    group by i.provider_account_id
) as latest using (provider_account_id)
where
    c.provider_account_id = m.provider_account_id
    and c.feed = %(feed)s
    and (c.value <> m.cursor_to or (c.reread and m.whole));

-- name: record_observation
-- A window changed rows: later records of the feed must not count as older, although no cursor moves.
update etl.cursors as c set observed_at = greatest(c.observed_at, latest.observed_at)
from (
    select i.provider_account_id, max(i.observed_at) as observed_at
    from incoming as i
    group by i.provider_account_id
) as latest
where c.provider_account_id = latest.provider_account_id and c.feed = %(feed)s;

-- name: count_expiring
-- Cursors of active accounts that have not moved for long; providers discard them after a while.
select count(*) as cursors
from etl.cursors as c
inner join core.provider_accounts as p using (provider_account_id)
where c.feed = %(feed)s and c.moved_at < now() - %(min_age)s and p.state = 'active';

-- name: request_full_read
-- Make the next download read a feed from its beginning; one that was never loaded is read so anyway.
update etl.cursors set reread = true
where provider_account_id = any(%(provider_account_ids)s) and feed = any(%(feeds)s)
returning provider_account_id;
