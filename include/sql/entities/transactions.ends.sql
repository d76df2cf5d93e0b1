-- name: drop_unconfirmed
-- A feed that reports removals is the authority on pending transactions: it never ends one that it did not report. A
-- pending transaction that only a window has, or that the feed has ended already, is therefore not merged; it would live
-- for ever.
delete from incoming as i
where
    i.pending
    and not exists (
        select 1
        from core.transactions as c
        where
            c.provider_account_id = i.provider_account_id
            and c.transaction_id = i.transaction_id
            and c.removed_at is null
        offset 0
    );

-- name: close_pending
-- End the pending rows that a posted record replaces, without waiting for their removal, unless the batch says that they
-- are still pending. One that was removed before its posted record came keeps the time of its removal, and ends as
-- posted, too; its key is not returned, since its state stays.
-- It needs no rows of new logins: what their only batch has as pending is still pending.
-- Each replaced row is looked up by its key: `offset 0` keeps the planner from scanning the table instead.
with still_pending as (
    select i.provider_account_id, i.transaction_id
    from incoming as i
    where i.pending and not i.removed
),
closing as (
    select distinct on (c.provider_account_id, c.transaction_id)
        c.provider_account_id,
        c.transaction_id,
        c.removed_at is null as is_live,
        i.observed_at
    from incoming as i
    cross join lateral (
        select k.*
        from core.transactions as k
        where
            k.provider_account_id = i.provider_account_id
            and k.transaction_id = i.pending_transaction_id
        offset 0
    ) as c
    where
        not i.removed
        and not i.pending
        and i.pending_transaction_id is not null
        and c.pending
        and c.removed_for is distinct from 'posted'
        and coalesce(c.removed_at, c.observed_at) <= i.observed_at
        and not exists (
            select 1
            from still_pending as p
            where p.provider_account_id = c.provider_account_id and p.transaction_id = c.transaction_id
        )
    order by c.provider_account_id, c.transaction_id, i.observed_at
),
renamed as (
    update core.transactions as target set removed_for = 'posted'
    from closing as c
    where
        not c.is_live
        and target.provider_account_id = c.provider_account_id
        and target.provider_account_id = any(array(select o.provider_account_id from closing as o))
        and target.transaction_id = c.transaction_id
)
update core.transactions as target set
    removed_at = c.observed_at,
    removed_for = 'posted',
    outdated_at = case when target.outdated_at > c.observed_at then target.outdated_at end,
    observed_at = c.observed_at,
    raw_id = %(raw_id)s
from closing as c
where
    c.is_live
    and target.provider_account_id = c.provider_account_id
    and target.provider_account_id = any(array(select o.provider_account_id from closing as o))
    and target.transaction_id = c.transaction_id
returning target.provider_account_id, target.transaction_id;

-- name: find_absent
-- The live rows that a full read should contain, and does not. The provider promised a span of days, so rows dated before
-- it may be missing. A row is kept where the read is no evidence: it has no record of the row's account, or none that is
-- as old; or a record of the row was rejected. A row whose posted record was rejected is held, however old it is.
with reported as (
    select
        i.provider_account_id,
        i.account_id,
        min(i.dated_on) as first_on
    from incoming as i
    inner join full_reads as f using (provider_account_id)
    where not i.removed
    group by i.provider_account_id, i.account_id
),
rejected as (
    select distinct r.provider_account_id, r.record_id
    from etl.rejects as r
    inner join full_reads as f using (provider_account_id)
    where
        r.entity = 'transactions'
        and r.version = %(version)s
        and r.raw_id >= %(raw_id)s
        and (r.closed_at is null or r.closed_by > %(raw_id)s)
)
insert into absent_rows (provider_account_id, record_id, observed_at, last_observed_at, last_raw_id, kept, is_held)
select
    c.provider_account_id,
    c.transaction_id,
    f.observed_at,
    c.observed_at,
    c.raw_id,
    case
        when r.record_id is not null then 'their records were rejected'
        when posted.was_rejected then 'the posted records that replace them were rejected'
        when a.first_on is null then 'account ' || c.account_id || ' is not in the read'
        when c.dated_on < a.first_on then 'older than all records of account ' || c.account_id || ' in the read'
    end,
    r.record_id is null and posted.was_rejected
from full_reads as f
cross join lateral (
    select k.*
    from core.transactions as k
    where k.provider_account_id = f.provider_account_id and k.removed_at is null
    offset 0
) as c
left join reported as a on a.provider_account_id = c.provider_account_id and a.account_id = c.account_id
left join rejected as r on r.provider_account_id = c.provider_account_id and r.record_id = c.transaction_id
cross join lateral (
    select exists (
        select 1
        from etl.rejects as p
        where
            p.entity = 'transactions'
            and p.provider_account_id = c.provider_account_id
            and p.replaces = c.transaction_id
            and p.closed_at is null
    ) as was_rejected
) as posted
where
    f.skipped is null
    and (c.dated_on >= f.promised_on or posted.was_rejected)
    and (c.observed_at, c.raw_id) <= (f.observed_at, %(raw_id)s)
    and not (f.is_raised and c.observed_at = f.observed_at)
    and not exists (
        select 1
        from incoming as i
        where
            i.provider_account_id = c.provider_account_id
            and i.transaction_id = c.transaction_id
    );

-- name: find_untold
-- Logins with rows that a window brought since the feed last told something, and that the feed, read on now, does not
-- tell of. A feed never tells of what was added and removed between two reads of it, so that only a read from its
-- beginning can tell whether such a row is gone, if it should contain it. A login is looked at only if a window has
-- changed rows since; its rows are looked up by login, since `offset 0` keeps the planner from reading the table.
-- It needs no rows of new logins: no window has brought any of them.
with windowed as materialized (
    select
        m.provider_account_id,
        coalesce(k.told_at, '-infinity') as told_at,
        (now() at time zone 'utc')::date - p.history_days as promised_on
    from incoming_cursors as m
    inner join core.provider_accounts as p using (provider_account_id)
    inner join etl.cursors as k on k.provider_account_id = m.provider_account_id and k.feed = %(feed)s
    where
        k.provider_account_id = any(array(select o.provider_account_id from incoming_cursors as o))
        and not m.whole
        and not k.reread
        and p.history_days is not null
        and k.observed_at > coalesce(k.told_at, '-infinity')
)
select distinct w.provider_account_id
from windowed as w
cross join lateral (
    select c.transaction_id
    from core.transactions as c
    where
        c.provider_account_id = w.provider_account_id
        and c.removed_at is null
        and c.dated_on >= w.promised_on
        and c.observed_at > w.told_at
    offset 0
) as t
where
    not exists (
        select 1
        from incoming as i
        where i.provider_account_id = w.provider_account_id and i.transaction_id = t.transaction_id
    );
