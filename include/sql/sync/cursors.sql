-- name: drop_table
-- A transaction that merges several batches has one after the other in hand.
drop table if exists pg_temp.incoming_cursors;

-- name: create_table
-- Where the batch in hand found each cursor, and where it leaves it.
create temp table incoming_cursors (
    provider_account_id bigint primary key,
    cursor_from text not null,
    cursor_to text not null,
    whole boolean not null
) on commit drop;

-- name: copy_cursor_moves
-- Cursors are opaque text of at most 256 characters.
copy incoming_cursors (provider_account_id, cursor_from, cursor_to, whole) from stdin (format binary);

-- name: create_missing
-- A feed that was never loaded gets its cursor now, so that it can be locked.
insert into etl.cursors (provider_account_id, feed)
select m.provider_account_id, %(feed)s
from incoming_cursors as m
order by m.provider_account_id
on conflict do nothing;

-- name: lock
-- In id order, so that two batches that share accounts cannot deadlock.
select c.provider_account_id
from etl.cursors as c
inner join incoming_cursors as m using (provider_account_id)
where c.feed = %(feed)s
order by c.provider_account_id
for update of c;

-- name: drop_stale_accounts
-- An account that another batch has moved on since this one was downloaded leaves it, with its rows; the others go on.
-- It is noted, since a replay of this batch must leave it out again: what it holds came with the other one.
with stale as (
    delete from incoming_cursors as m
    using etl.cursors as c
    where c.provider_account_id = m.provider_account_id and c.feed = %(feed)s and c.value <> m.cursor_from
    returning m.provider_account_id
),
noted as (
    insert into etl.left_out (chunk_id, attempt, provider_account_id, outcome, reason)
    select
        r.chunk_id,
        r.attempt,
        s.provider_account_id,
        'stale',
        'another batch moved its cursor on first'
    from stale as s
    inner join etl.raw_batches as r on r.raw_id = %(raw_id)s
    on conflict do nothing
),
left_out as (
    delete from incoming as i
    using stale as s
    where i.provider_account_id = s.provider_account_id
    returning i.provider_account_id
)
select
    l.provider_account_id,
    count(*)::int as rows
from left_out as l
group by l.provider_account_id;

-- name: drop_recorded_stale_accounts
-- Accounts that were stale when the batch was first loaded are so for ever.
with left_out as (
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
    l.provider_account_id,
    count(*)::int as rows
from left_out as l
group by l.provider_account_id;

-- name: clamp_timestamps
-- The cursors say what came after what. Clocks of workers differ: a batch that continues another is never older than it.
-- As a rule no cursor is later than the batch's first record, and then its rows are not looked at one by one.
with corrected as (
    update incoming as i set observed_at = c.observed_at
    from incoming_cursors as m
    inner join etl.cursors as c using (provider_account_id)
    where
        m.provider_account_id = i.provider_account_id
        and c.feed = %(feed)s
        and c.observed_at > i.observed_at
        and c.observed_at > %(earliest)s
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
-- Records count as late as they did when the batch was first loaded.
update incoming as i set observed_at = k.observed_at
from etl.clock_corrections as k
where
    k.raw_id = %(raw_id)s
    and k.provider_account_id = i.provider_account_id
    and k.observed_at > i.observed_at;

-- name: advance
-- A cursor that stays where it is costs no write.
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
-- A window changed rows: what the feed brings next is not older than that, though no cursor moves.
update etl.cursors as c set observed_at = greatest(c.observed_at, latest.observed_at)
from (
    select i.provider_account_id, max(i.observed_at) as observed_at
    from incoming as i
    group by i.provider_account_id
) as latest
where c.provider_account_id = latest.provider_account_id and c.feed = %(feed)s;

-- name: count_expiring
-- Cursors of quiet accounts, which providers forget after a while.
select count(*) as cursors
from etl.cursors as c
inner join core.provider_accounts as p using (provider_account_id)
where c.feed = %(feed)s and c.moved_at < now() - %(age)s and p.state = 'active';

-- name: request_full_read
-- Let the next download read a feed from its beginning; one that was never loaded will be anyway.
update etl.cursors set reread = true
where provider_account_id = any(%(provider_account_ids)s) and feed = any(%(feeds)s)
returning provider_account_id;
