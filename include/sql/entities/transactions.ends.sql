-- name: remove
-- Set tombstones on the rows that the provider removed. A row that was observed after the removal stays; a removal of
-- an unknown row has no effect.
-- A posted transaction that replaces a pending one is merged already, whichever page it came on. Where it was rejected,
-- the pending one must not vanish: it stays, is out of date, and ends with the reject.
with removals as (
    select
        i.provider_account_id,
        i.transaction_id,
        i.observed_at,
        c.observed_at > i.observed_at as superseded,
        replaced.posted,
        not replaced.posted
        and c.removed_at is null
        and c.observed_at <= i.observed_at
        and exists (
            select 1
            from etl.rejects as r
            where
                r.entity = 'transactions'
                and r.provider_account_id = i.provider_account_id
                and r.replaces = i.transaction_id
                and r.closed_at is null
        ) as held
    from incoming as i
    inner join core.transactions as c using (provider_account_id, transaction_id)
    cross join lateral (
        select exists (
            select 1
            from core.transactions as posted
            where
                posted.provider_account_id = i.provider_account_id
                and posted.pending_transaction_id = i.transaction_id
                and (posted.removed_at is null or posted.removed_at > i.observed_at)
        ) as posted
    ) as replaced
    where i.removed and (c.removed_at is null or c.outdated_at <= i.observed_at)
),
holding as (
    update etl.rejects as target set held_at = greatest(target.held_at, r.observed_at)
    from removals as r
    where
        r.held
        and target.entity = 'transactions'
        and target.provider_account_id = r.provider_account_id
        and target.replaces = r.transaction_id
        and target.closed_at is null
),
changed as (
    update core.transactions as target set
        removed_at = case when not r.held then r.observed_at end,
        removed_for = case when r.held then null when r.posted then 'posted' else 'withdrawn' end,
        outdated_at = case
            when r.held or target.outdated_at > r.observed_at then greatest(target.outdated_at, r.observed_at)
        end,
        observed_at = case when r.held then target.observed_at else r.observed_at end,
        raw_id = case when r.held then target.raw_id else %(raw_id)s end
    from removals as r
    where
        not r.superseded
        and target.provider_account_id = r.provider_account_id
        and target.transaction_id = r.transaction_id
)
select
    count(*) filter (where not superseded and not held) as removed,
    count(*) filter (where superseded) as superseded
from removals;

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
    );

-- name: close_pending
-- End the pending rows that a posted record replaces, without waiting for their removal, unless the batch says that they
-- are still pending. One that was removed before its posted record came keeps the time of its removal, and ends as
-- posted, too; its key is not returned, since its state stays.
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
    and target.transaction_id = c.transaction_id
returning target.provider_account_id, target.transaction_id;

-- name: close_held
-- End the pending rows that were held for a reject, once no reject holds them any more: what replaced them was loaded in
-- the meantime, or was removed itself.
with released as (
    select
        r.provider_account_id,
        r.replaces as transaction_id,
        max(r.held_at) as held_at
    from etl.rejects as r
    where
        r.provider_account_id = any(array(select m.provider_account_id from incoming_cursors as m))
        and r.entity = 'transactions'
        and r.held_at is not null
        and r.closed_at is not null
        and not exists (
            select 1
            from etl.rejects as other
            where
                other.entity = r.entity
                and other.provider_account_id = r.provider_account_id
                and other.replaces = r.replaces
                and other.closed_at is null
        )
    group by r.provider_account_id, r.replaces
)
update core.transactions as target set
    removed_at = r.held_at,
    removed_for = case
        when exists (
            select 1
            from core.transactions as posted
            where
                posted.provider_account_id = r.provider_account_id
                and posted.pending_transaction_id = r.transaction_id
                and (posted.removed_at is null or posted.removed_at > r.held_at)
        ) then 'posted'
        else 'withdrawn'
    end,
    outdated_at = case when target.outdated_at > r.held_at then target.outdated_at end,
    observed_at = r.held_at,
    raw_id = %(raw_id)s
from released as r
where
    target.provider_account_id = r.provider_account_id
    and target.transaction_id = r.transaction_id
    and target.removed_at is null
    and target.observed_at <= r.held_at
returning target.provider_account_id, target.transaction_id;

-- name: mark_outdated
-- Mark the rows whose newer record was rejected; the next record that is loaded clears the mark.
with rejected as (
    {rejected}
)
update core.transactions as target set outdated_at = r.observed_at
from rejected as r
where
    target.provider_account_id = r.provider_account_id
    and target.transaction_id = r.record_id
    and (r.observed_at, %(raw_id)s) >= (target.observed_at, target.raw_id)
    and (target.outdated_at is null or target.outdated_at < r.observed_at);

-- name: count_live
-- Live rows of the logins whose feed was read in full.
select t.provider_account_id, count(*)::int as live
from core.transactions as t
where
    t.provider_account_id = any(array(select f.provider_account_id from full_reads as f))
    and t.removed_at is null
group by t.provider_account_id;

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
inner join core.transactions as c using (provider_account_id)
left join reported as a using (provider_account_id, account_id)
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
    and c.removed_at is null
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

-- name: close_absent
-- End the absent rows that were chosen. A row whose posted record was rejected is held instead, as by `remove`.
with held as (
    update etl.rejects as target set held_at = greatest(target.held_at, a.observed_at)
    from absent_rows as a
    where
        a.is_held
        and target.entity = 'transactions'
        and target.provider_account_id = a.provider_account_id
        and target.replaces = a.record_id
        and target.closed_at is null
    returning a.provider_account_id, a.record_id, a.observed_at
),
marked as (
    update core.transactions as target set outdated_at = greatest(target.outdated_at, h.observed_at)
    from held as h
    where
        target.provider_account_id = h.provider_account_id
        and target.transaction_id = h.record_id
)
update core.transactions as target set
    removed_at = a.observed_at,
    removed_for = 'absent',
    observed_at = a.observed_at,
    raw_id = %(raw_id)s
from absent_rows as a
where
    a.ends
    and target.provider_account_id = a.provider_account_id
    and target.transaction_id = a.record_id
returning target.provider_account_id, target.transaction_id;

-- name: restore_absent
-- Bring back the rows that a reconciliation ended, as they were; rows that were written since stay.
update core.transactions as target set
    removed_at = null,
    removed_for = null,
    observed_at = e.last_observed_at,
    raw_id = e.last_raw_id
from etl.ended_rows as e
where
    e.raw_id = %(raw_id)s
    and e.entity = 'transactions'
    and e.provider_account_id = %(provider_account_id)s
    and target.provider_account_id = e.provider_account_id
    and target.transaction_id = e.record_id
    and target.raw_id = e.raw_id
    and target.removed_for = 'absent'
returning target.provider_account_id, target.transaction_id;
