-- name: drop_table
-- A transaction that merges several batches stages them one after the other.
drop table if exists pg_temp.incoming_cursors;

-- name: create_table
-- The cursor of each login at which the staged batch starts, and the one at which it ends; and how many records of the
-- login were read and rejected. Of recent days, the first and the last one. Of a login whose rows are not staged, since
-- they were copied into the core table at once, when the last of them was observed.
create temp table incoming_cursors (
    provider_account_id bigint primary key,
    cursor_from text not null,
    cursor_to text not null,
    whole boolean not null,
    generation bigint,
    read bigint not null,
    rejected bigint not null,
    first_on date,
    last_on date,
    observed_at timestamptz
) on commit drop;

-- name: copy_cursor_moves
-- Cursors are opaque text of at most 256 characters.
copy incoming_cursors (
    provider_account_id, cursor_from, cursor_to, whole, generation, read, rejected, first_on, last_on
)
from stdin (format binary);

-- name: create_missing
-- Insert the cursors of feeds that were never loaded, so that they can be locked.
insert into etl.cursors (provider_account_id, feed)
select m.provider_account_id, %(feed)s
from incoming_cursors as m
order by m.provider_account_id
on conflict do nothing;

-- name: lock
-- In id order, so that two batches with common accounts cannot deadlock. A login that was linked again ends rows of
-- earlier logins, and the other way round: their cursors are locked, too.
select c.provider_account_id
from etl.cursors as c
where
    c.feed = %(feed)s
    and c.provider_account_id = any(array(
        select m.provider_account_id
        from incoming_cursors as m
        union
        select r.old_provider_account_id
        from incoming_cursors as m
        inner join core.replaced_accounts as r on r.new_provider_account_id = m.provider_account_id
        where r.undone_at is null
        union
        select r.new_provider_account_id
        from incoming_cursors as m
        inner join core.replaced_accounts as r on r.old_provider_account_id = m.provider_account_id
        where r.undone_at is null
    ))
order by c.provider_account_id
for update;

-- name: lock_of
-- The cursor of one account, whose rows are about to be written without a batch.
select c.provider_account_id
from etl.cursors as c
where c.provider_account_id = %(provider_account_id)s and c.feed = %(feed)s
for update;

-- name: find_new
-- The logins of the staged batch of which nothing is known yet: no cursor, no row, and no record that could not be loaded.
-- Each is looked up by an index: `offset 0` keeps the planner from reading the whole table instead.
select m.provider_account_id
from incoming_cursors as m
inner join etl.cursors as c on c.provider_account_id = m.provider_account_id and c.feed = %(feed)s
where
    c.provider_account_id = any(array(select o.provider_account_id from incoming_cursors as o))
    and c.raw_id is null
    and c.observed_at is null
    and not m.whole
    and m.rejected = 0
    and not exists (
        select 1
        from {table} as t
        where t.provider_account_id = m.provider_account_id
        offset 0
    )
    and not exists (
        select 1
        from etl.rejects as r
        where r.entity = %(entity)s and r.provider_account_id = m.provider_account_id and r.closed_at is null
        offset 0
    );

-- name: record_copied
-- Of logins whose rows were copied into the core table at once, when the last of them was observed.
update incoming_cursors as m set observed_at = l.observed_at
from unnest(%(provider_account_ids)s::bigint[], %(observed_at)s::timestamptz[]) as l (provider_account_id, observed_at)
where l.provider_account_id = m.provider_account_id;

-- name: drop_stale
-- Drop the logins of which another batch was loaded since this one was downloaded; the others are loaded. A cursor may
-- return to an earlier value, so that only its generation tells. Batches of before there were generations have none.
-- They are recorded, since a replay of this batch must skip them too: the other batch brought their records.
with stale as (
    delete from incoming_cursors as m
    using etl.cursors as c
    where
        c.provider_account_id = m.provider_account_id
        and c.provider_account_id = any(array(select o.provider_account_id from incoming_cursors as o))
        and c.feed = %(feed)s
        and (c.value <> m.cursor_from or c.generation <> m.generation)
    returning m.provider_account_id
),
recorded as (
    insert into etl.left_out as l (chunk_id, attempt, provider_account_id, outcome, reason)
    select
        r.chunk_id,
        r.attempt,
        s.provider_account_id,
        'stale',
        'another batch moved its cursor first'
    from stale as s
    inner join etl.raw_batches as r on r.raw_id = %(raw_id)s
    on conflict (chunk_id, attempt, provider_account_id) do update set
        outcome = excluded.outcome,
        reason = excluded.reason,
        left_out_at = now()
    where l.outcome = 'quarantined'
)
select s.provider_account_id
from stale as s;

-- name: drop
-- Take logins out of the staged batch.
delete from incoming_cursors
where provider_account_id = any(%(provider_account_ids)s);

-- name: left_out
-- Logins that were not loaded with the rest of a batch, each with the reason; other attempts of its chunk have their own.
select l.provider_account_id, l.outcome
from etl.left_out as l
inner join etl.raw_batches as r using (chunk_id, attempt)
where r.raw_id = %(raw_id)s and l.outcome in ('stale', 'quarantined');

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
        and c.provider_account_id = any(array(select o.provider_account_id from incoming_cursors as o))
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
-- Move the cursors. Each load that moves a cursor, brings rows or completes a full read has its own generation; a cursor
-- of which nothing changed is not written.
update etl.cursors as c set
    value = m.cursor_to,
    generation = c.generation + 1,
    raw_id = %(raw_id)s,
    moved_at = case when c.value <> m.cursor_to or m.whole then now() else c.moved_at end,
    observed_at = greatest(c.observed_at, latest.observed_at, m.observed_at),
    told_at = greatest(c.told_at, latest.observed_at, m.observed_at),
    reread = c.reread and not m.whole
from incoming_cursors as m
left join (
    select i.provider_account_id, max(i.observed_at) as observed_at
    from incoming as i
    group by i.provider_account_id
) as latest using (provider_account_id)
where
    c.provider_account_id = m.provider_account_id
    and c.provider_account_id = any(array(select o.provider_account_id from incoming_cursors as o))
    and c.feed = %(feed)s
    and (c.value <> m.cursor_to or m.whole or coalesce(latest.observed_at, m.observed_at) is not null);

-- name: record_observation
-- A window changed rows: later records of the feed must not count as older, although no cursor moves.
update etl.cursors as c set observed_at = greatest(c.observed_at, latest.observed_at)
from (
    select i.provider_account_id, max(i.observed_at) as observed_at
    from incoming as i
    group by i.provider_account_id
) as latest
where
    c.provider_account_id = latest.provider_account_id
    and c.provider_account_id = any(array(select o.provider_account_id from incoming_cursors as o))
    and c.feed = %(feed)s;

-- name: find_expiring
-- Cursors that have not moved for long, of logins that a run asks now or later; providers discard them after a while.
-- Those that are read from the beginning anyway need no cursor.
select
    count(*)::int as cursors,
    coalesce((array_agg(c.provider_account_id order by c.provider_account_id))[1:%(examples)s], '{}') as first_ids
from etl.cursors as c
inner join core.provider_accounts as p using (provider_account_id)
where
    c.feed = %(feed)s
    and c.moved_at < now() - %(min_age)s
    and not c.reread
    and p.state in ('active', 'needs_login');

-- name: request_full_read
-- Make the next download read a feed from its beginning; one that was never loaded is read so anyway.
update etl.cursors set reread = true
where provider_account_id = any(%(provider_account_ids)s) and feed = any(%(feeds)s)
returning provider_account_id;
