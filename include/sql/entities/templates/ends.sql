-- name: remove
-- Set tombstones on the rows that the provider removed. A row that was observed after the removal stays; a removal of
-- an unknown row has no effect.
with removals as (
    select
        {incoming_key},
        i.observed_at,
        c.observed_at > i.observed_at as superseded
    from incoming as i
    cross join lateral (
        select k.*
        from {table} as k
        where {same_key_as_k}
        offset 0
    ) as c
    where i.removed and (c.removed_at is null{or_is_outdated})
),
changed as (
    update {table} as target set
        removed_at = r.observed_at,
        removed_for = 'withdrawn',{removal_clears_mark}
        observed_at = r.observed_at,
        raw_id = %(raw_id)s
    from removals as r
    where not r.superseded and {same_key_as_r}{in_logins_of_removals}
)
select
    count(*) filter (where not superseded) as removed,
    count(*) filter (where superseded) as superseded
from removals;

-- name: remove_replaced
-- The same for an entity of which a record may replace an earlier one, as a posted transaction replaces a pending one.
-- The later record is merged already, whichever page it came on. Where it was rejected, the earlier row must not vanish:
-- it stays, is out of date, and ends with the reject.
with removals as (
    select
        i.provider_account_id,
        i.{own_key},
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
                r.entity = {entity}
                and r.provider_account_id = i.provider_account_id
                and r.replaces = i.{own_key}
                and r.closed_at is null
        ) as held
    from incoming as i
    cross join lateral (
        select k.*
        from {table} as k
        where {same_key_as_k}
        offset 0
    ) as c
    cross join lateral (
        select exists (
            select 1
            from {table} as posted
            where
                posted.provider_account_id = i.provider_account_id
                and posted.{replaces} = i.{own_key}
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
        and target.entity = {entity}
        and target.provider_account_id = r.provider_account_id
        and target.replaces = r.{own_key}
        and target.closed_at is null
),
changed as (
    update {table} as target set
        removed_at = case when not r.held then r.observed_at end,
        removed_for = case when r.held then null when r.posted then 'posted' else 'withdrawn' end,
        outdated_at = case
            when r.held or target.outdated_at > r.observed_at then greatest(target.outdated_at, r.observed_at)
        end,
        observed_at = case when r.held then target.observed_at else r.observed_at end,
        raw_id = case when r.held then target.raw_id else %(raw_id)s end
    from removals as r
    where not r.superseded and {same_key_as_r}{in_logins_of_removals}
)
select
    count(*) filter (where not superseded and not held) as removed,
    count(*) filter (where superseded) as superseded
from removals;

-- name: close_held
-- End the rows that were held for a reject, once no reject holds them any more: what replaced them was loaded in the
-- meantime, or was removed itself.
with released as (
    select
        r.provider_account_id,
        r.replaces as {own_key},
        max(r.held_at) as held_at
    from etl.rejects as r
    where
        r.provider_account_id = any(array(select m.provider_account_id from incoming_cursors as m))
        and r.entity = {entity}
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
update {table} as target set
    removed_at = r.held_at,
    removed_for = case
        when exists (
            select 1
            from {table} as posted
            where
                posted.provider_account_id = r.provider_account_id
                and posted.{replaces} = r.{own_key}
                and (posted.removed_at is null or posted.removed_at > r.held_at)
        ) then 'posted'
        else 'withdrawn'
    end,
    outdated_at = case when target.outdated_at > r.held_at then target.outdated_at end,
    observed_at = r.held_at,
    raw_id = %(raw_id)s
from released as r
where
    {same_key_as_r}
    and target.provider_account_id = any(array(select o.provider_account_id from released as o))
    and target.removed_at is null
    and target.observed_at <= r.held_at
returning {target_key};

-- name: mark_outdated
-- Mark the rows whose newer record was rejected; the next record that is loaded clears the mark. One that ended since a
-- read lacked it lives again: its record is there, although it cannot be loaded.
with rejected as (
    {{rejected}}
)
update {table} as target set
    outdated_at = r.observed_at{revives_absent}
from rejected as r
where
    target.provider_account_id = r.provider_account_id
    and target.provider_account_id = any(array(select o.provider_account_id from rejected as o))
    and {target_record_id} = r.record_id
    and (r.observed_at, %(raw_id)s) >= (target.observed_at, target.raw_id)
    and (target.outdated_at is null or target.outdated_at < r.observed_at);

-- name: count_live
-- Live rows of the logins whose feed, or whose recent days, were read in full.
select t.provider_account_id, count(*)::int as live
from {table} as t
where
    t.provider_account_id = any(array(select f.provider_account_id from full_reads as f))
    and t.removed_at is null
group by t.provider_account_id;

-- name: close_absent
-- End the absent rows that were chosen. A row whose later record was rejected is held instead, as by `remove`.
with held as (
    update etl.rejects as target set held_at = greatest(target.held_at, a.observed_at)
    from absent_rows as a
    where
        a.is_held
        and target.entity = {entity}
        and target.provider_account_id = a.provider_account_id
        and target.replaces = a.record_id
        and target.closed_at is null
    returning a.provider_account_id, a.record_id, a.observed_at
),
marked as (
    update {table} as target set outdated_at = greatest(target.outdated_at, h.observed_at)
    from held as h
    where
        target.provider_account_id = h.provider_account_id
        and target.provider_account_id = any(array(select o.provider_account_id from held as o))
        and {target_record_id} = h.record_id
)
update {table} as target set
    removed_at = a.observed_at,
    removed_for = 'absent',
    observed_at = a.observed_at,
    raw_id = %(raw_id)s
from absent_rows as a
where
    a.ends
    and target.provider_account_id = a.provider_account_id
    and target.provider_account_id = any(array(select o.provider_account_id from absent_rows as o where o.ends))
    and {target_record_id} = a.record_id
returning {target_key};

-- name: restore_absent
-- Bring back the rows that a reconciliation ended, as they were; rows that were written since stay.
update {table} as target set
    removed_at = null,
    removed_for = null,{restoring_unsettles}
    observed_at = e.last_observed_at,
    raw_id = e.last_raw_id
from etl.ended_rows as e
where
    e.raw_id = %(raw_id)s
    and e.entity = {entity}
    and e.provider_account_id = %(provider_account_id)s
    and target.provider_account_id = e.provider_account_id
    and {target_record_id} = e.record_id
    and target.raw_id = e.raw_id
    and target.removed_for in {restored_reasons}
returning {target_key};

-- name: close_missing
-- Close the rows that a login's snapshot no longer has, as of its observation. Return those, and those that stay open
-- for a reason: an empty snapshot is no evidence (one with rejected records only is not empty), a rejected record may be
-- the row, a snapshot may say itself that it lacks records of the row's part of the login, and it is outdated where it was
-- read before the row was. A reject may have failed again in a later batch, which then is its batch. Logins of which a later snapshot was loaded are not in `incoming_cursors`.
with latest as (
    select e.provider_account_id, max(e.observed_at) as observed_at
    from (
        select i.provider_account_id, i.observed_at
        from incoming as i
        union all
        select r.provider_account_id, r.observed_at
        from incoming_cursors as m
        inner join etl.rejects as r on r.provider_account_id = m.provider_account_id
        where r.entity = {entity} and r.version = %(version)s and r.raw_id = %(raw_id)s and r.closed_at is null
    ) as e
    group by e.provider_account_id
),
lacking as (
    select g.provider_account_id, g.part_column, g.part, concat_ws(' for ', g.code, nullif(g.part, '')) as reason
    from etl.raw_batches as b
    inner join etl.gaps as g on g.chunk_id = b.chunk_id and g.attempt = b.attempt
    where b.raw_id = %(raw_id)s
),
missing as (
    select
        {existing_key},
        l.observed_at,
        case
            when l.observed_at is null then 'the snapshot is empty'
            when (c.observed_at, c.raw_id) > (l.observed_at, %(raw_id)s) then 'they were observed later'
            when lack.reason is not null then 'the provider answers ' || lack.reason
            when
                exists (
                    select 1
                    from etl.rejects as r
                    where
                        r.entity = {entity}
                        and r.version = %(version)s
                        and r.provider_account_id = c.provider_account_id
                        and r.raw_id >= %(raw_id)s
                        and r.closed_at is null
                        and coalesce(r.record_id = {existing_record_id} or r.record_id like 'sha256:%%', true)
                )
                then 'a rejected record may be the row'
        end as kept_for
    from incoming_cursors as m
    cross join lateral (
        select k.*
        from {table} as k
        where k.provider_account_id = m.provider_account_id
        offset 0
    ) as c
    left join latest as l on l.provider_account_id = c.provider_account_id
    left join lateral (
        select min(g.reason) as reason
        from lacking as g
        where g.provider_account_id = c.provider_account_id and {in_part}
    ) as lack on true
    where
        c.closed_on is null
        and not exists (
            select 1
            from incoming as i
            where {same_key_as_c}
        )
),
closed as (
    update {table} as target set
        closed_on = (r.observed_at at time zone 'utc')::date,
        observed_at = r.observed_at,
        raw_id = %(raw_id)s
    from missing as r
    where
        r.kept_for is null
        and {same_key_as_r}
        and target.provider_account_id = any(array(select o.provider_account_id from missing as o))
)
select {missing_key}, r.kept_for
from missing as r
order by {missing_key};

-- name: count_open
-- Rows that are not closed.
select count(*) as open
from {table} as k
where k.closed_on is null;
