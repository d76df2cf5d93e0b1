-- name: moves
-- Where the batch in hand found each cursor, and where it leaves it.
create temp table incoming_cursors (
    provider_account_id bigint primary key,
    cursor_from text not null,
    cursor_to text not null
) on commit drop;

-- name: copy_moves
-- Cursors are opaque text of at most 256 characters.
copy incoming_cursors (provider_account_id, cursor_from, cursor_to) from stdin (format csv);

-- name: open
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

-- name: fence
-- An account that another batch has moved on since this one was downloaded leaves it, with its rows; the others go on.
with stale as (
    delete from incoming_cursors as m
    using etl.cursors as c
    where c.provider_account_id = m.provider_account_id and c.feed = %(feed)s and c.value <> m.cursor_from
    returning m.provider_account_id
),
left_out as (
    delete from incoming as i
    using stale as s
    where i.provider_account_id = s.provider_account_id
    returning i.seq
)
select
    (select count(*)::int from stale) as accounts,
    (select count(*)::int from left_out) as stale;

-- name: keep_order
-- The cursors say what came after what. Clocks of workers differ: a batch that continues another is never older than it.
update incoming as i set observed_at = c.observed_at
from etl.cursors as c
where
    c.provider_account_id = i.provider_account_id
    and c.feed = %(feed)s
    and c.observed_at > i.observed_at;

-- name: advance
-- A cursor that stays where it is costs no write.
update etl.cursors as c set
    value = m.cursor_to,
    raw_id = %(raw_id)s,
    moved_at = now(),
    observed_at = greatest(c.observed_at, latest.observed_at)
from incoming_cursors as m
left join (
    select i.provider_account_id, max(i.observed_at) as observed_at
    from incoming as i
    group by i.provider_account_id
) as latest using (provider_account_id)
where c.provider_account_id = m.provider_account_id and c.feed = %(feed)s and c.value <> m.cursor_to;

-- name: observe
-- A window was loaded: what the feed brings next is not older than that, though no cursor moves.
update etl.cursors as c set observed_at = greatest(c.observed_at, latest.observed_at)
from (
    select i.provider_account_id, max(i.observed_at) as observed_at
    from incoming as i
    group by i.provider_account_id
) as latest
where c.provider_account_id = latest.provider_account_id and c.feed = %(feed)s;

-- name: ageing
-- Cursors of quiet accounts, which providers forget after a while.
select count(*) as cursors
from etl.cursors as c
inner join core.provider_accounts as p using (provider_account_id)
where c.feed = %(feed)s and c.moved_at < now() - %(age)s and p.state = 'active';
