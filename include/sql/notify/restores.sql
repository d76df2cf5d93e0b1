-- name: add
-- Remember a restore, and the last delivery that the backup knows.
insert into notify.restores (restored_at, last_delivery_id)
select clock_timestamp(), coalesce(max(d.delivery_id), 0)
from notify.deliveries as d
returning last_delivery_id;

-- name: skip_ids
-- Message ids hold the id of their delivery, so the ids that were given out after the backup must not be given out again: a bounce, or a line of
-- the mail server's log, would be taken for another person's.
select setval(pg_get_serial_sequence('notify.deliveries', 'delivery_id'), %(last_delivery_id)s + %(gap)s);

-- name: hold_runs
-- Every run that had not ended at the time of the backup may have gone on since. One that was held by refusals would resume by itself.
update notify.runs as r
set
    state = 'held',
    is_refused = false,
    reason = %(reason)s
where r.ended_at is null and r.state in ('running', 'paused', 'held')
returning r.run_id;

-- name: find_unconfirmed
-- When the last restore was that nobody has confirmed.
select r.restored_at
from notify.restores as r
where r.confirmed_at is null
order by r.restored_at desc
limit 1;

-- name: find_last_delivery
-- The last delivery of the latest backup that was restored.
select r.last_delivery_id
from notify.restores as r
order by r.restored_at desc
limit 1;

-- name: confirm
-- A person says from when on the ledger knows what is sent.
update notify.restores as r
set
    confirmed_at = now(),
    trusted_since = %(since)s
where r.confirmed_at is null
returning r.restored_at;

-- name: find_trusted_since
-- Before this instant, the ledger may not know what was sent; no row value without a restore.
select max(r.trusted_since)
from notify.restores as r;

-- name: list_held
-- Runs that were held by a restore or otherwise, and could go on.
select r.run_id
from notify.runs as r
where r.state = 'held'
order by r.run_id;

-- name: mark_known
-- The mail server accepted messages of deliveries that were under way when the backup was taken.
with logged as (
    select
        d.delivery_id,
        d.run_id,
        d.ordinal,
        d.state,
        d.error_class is not distinct from 'dropped' as is_dropped
    from notify.deliveries as d
    where d.delivery_id = any(%(delivery_ids)s::bigint[]) and d.state in ('claimed', 'unknown', 'deferred')
    for update
),
marked as (
    update notify.deliveries as d
    set
        state = 'sent',
        ended_at = coalesce(d.ended_at, now()),
        error_class = null,
        error = null
    from logged as g
    where d.delivery_id = g.delivery_id
),
no_longer_deferred as (
    delete from notify.deferrals as w
    using logged as g
    where w.delivery_id = g.delivery_id
),
counted as (
    update notify.chunks as c
    set
        sent = c.sent + n.marked,
        unknown = c.unknown - n.unknown,
        dropped = c.dropped - n.dropped,
        deferred = c.deferred - n.deferred
    from (
        select
            g.run_id,
            g.ordinal,
            count(*) as marked,
            count(*) filter (where g.state = 'unknown') as unknown,
            count(*) filter (where g.state = 'unknown' and g.is_dropped) as dropped,
            count(*) filter (where g.state = 'deferred') as deferred
        from logged as g
        group by g.run_id, g.ordinal
    ) as n
    where c.run_id = n.run_id and c.ordinal = n.ordinal
)
select count(*)
from logged;

-- name: list_users
-- Users who have, or had, any of these addresses.
select distinct c.user_id
from notify.contacts as c
where c.channel = 'email' and lower(c.address) = any(%(addresses)s::text[]);

-- name: add_lost
-- Write deliveries that were made after the backup into the ledger again, so that they are not made twice.
with added as (
    insert into notify.deliveries (
        user_id, run_id, channel, state, notice_id, ordinal, attempt, doubts, dedupe_key, ended_at, error_class
    )
    select
        t.user_id,
        %(run_id)s,
        'email',
        %(state)s::notify.state,
        %(notice_id)s,
        %(ordinal)s,
        %(attempt)s,
        case when %(state)s = 'unknown' then 1 else 0 end,
        t.dedupe_key,
        now(),
        case when %(state)s = 'unknown' then 'restored' end
    from unnest(%(user_ids)s::bigint[], %(dedupe_keys)s::text[]) as t (user_id, dedupe_key)
    on conflict (notice_id, dedupe_key, channel, user_id) do nothing
    returning delivery_id
),
counted as (
    update notify.chunks as c
    set
        first_id = least(c.first_id, n.first_id),
        last_id = greatest(c.last_id, n.last_id),
        sent = c.sent + case when %(state)s = 'sent' then n.added else 0 end,
        unknown = c.unknown + case when %(state)s = 'unknown' then n.added else 0 end
    from (
        select
            min(a.delivery_id) as first_id,
            max(a.delivery_id) as last_id,
            count(*) as added
        from added as a
    ) as n
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s and n.added > 0
)
select count(*)
from added;
