-- name: require_synchronous_commit
-- For the session. A stricter setting of the server, such as waiting for a standby, is not changed.
select set_config('synchronous_commit', 'on', false)
where current_setting('synchronous_commit') = 'off';

-- name: claim
-- Claim one page of a chunk in one statement: eligibility is checked at this moment, and a row is written before its message is sent.
-- Deliveries that an earlier attempt left `unknown` are claimed again only if the notice declares so. Rows of other runs are not changed.
-- A row of this chunk is repeated, too, unless it is of the page that was claimed last and may have been interrupted.
with positions as (
    select p.line, p.position
    from unnest(%(lines)s::int[], %(positions)s::bigint[]) as p (line, position)
),
interrupted as (
    select c.claimed_from, c.claimed_until
    from notify.chunks as c
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
),
page as (
    select p.line, p.user_id, p.dedupe_key, v.channel
    from
        unnest(%(lines)s::int[], %(user_ids)s::bigint[], %(dedupe_keys)s::text[]) as p (line, user_id, dedupe_key),
        unnest(%(channels)s::notify.channel[]) as v (channel)
),
eligibility as ({eligibility}),
reachable as (
    select j.line, j.user_id, j.dedupe_key, j.channel, j.address, j.state, j.error_class
    from eligibility as j
    where j.address is not null or j.error_class = 'user_deleted'
),
existing as (
    select r.line, r.channel
    from reachable as r
    inner join notify.deliveries as d
        on d.notice_id = %(notice_id)s
        and d.dedupe_key = r.dedupe_key
        and d.channel = r.channel
        and d.user_id = r.user_id
    inner join positions as p using (line)
    cross join interrupted as i
    where
        d.run_id <> %(run_id)s
        or d.ordinal <> %(ordinal)s
        or coalesce(p.position > i.claimed_until, true)
        or coalesce(d.delivery_id < i.claimed_from, true)
),
reclaimed as (
    update notify.deliveries as d
    set
        state = 'claimed',
        attempt = %(attempt)s,
        claimed_at = now(),
        ended_at = null,
        error_class = null
    from reachable as r
    where
        %(unknown)s = 'resend'
        and r.state = 'claimed'
        and d.notice_id = %(notice_id)s
        and d.dedupe_key = r.dedupe_key
        and d.channel = r.channel
        and d.user_id = r.user_id
        and d.state = 'unknown'
        and d.error_class is distinct from 'dropped'
        and d.run_id = %(run_id)s
        and d.ordinal = %(ordinal)s
    returning r.line, r.user_id, r.address, d.delivery_id, d.channel, d.state, d.doubts
),
inserted as (
    insert into notify.deliveries (
        user_id, run_id, channel, state, notice_id, ordinal, attempt, dedupe_key, ended_at, error_class
    )
    select
        r.user_id,
        %(run_id)s,
        r.channel,
        r.state,
        %(notice_id)s,
        %(ordinal)s,
        %(attempt)s,
        r.dedupe_key,
        case when r.state <> 'claimed' then now() end,
        case when r.state = 'suppressed' then r.error_class end
    from reachable as r
    order by r.channel, r.user_id
    on conflict (notice_id, dedupe_key, channel, user_id) do nothing
    returning user_id, dedupe_key, channel, delivery_id, state, doubts
),
written as (
    select t.line, t.user_id, t.address, t.delivery_id, t.channel, t.state, t.doubts
    from reclaimed as t
    union all
    select r.line, a.user_id, r.address, a.delivery_id, a.channel, a.state, a.doubts
    from inserted as a
    inner join reachable as r using (user_id, dedupe_key, channel)
),
outdated as (
    -- What no longer counts for a cap: its delivery was purged, or is as old as the cap looks back.
    delete from notify.recent_deliveries as t
    where
        %(cap_count)s::int is not null
        and t.user_id = any(%(user_ids)s::bigint[])
        and t.category = %(category)s
        and not exists (
            select 1
            from notify.deliveries as d
            where
                d.delivery_id = t.delivery_id
                and (
                    d.state in ('claimed', 'deferred', 'unknown')
                    or coalesce(d.ended_at, d.claimed_at) > clock_timestamp() - %(cap_per)s::interval
                )
        )
),
counted as (
    insert into notify.recent_deliveries (user_id, category, delivery_id)
    select m.user_id, %(category)s, m.delivery_id
    from written as m
    where %(cap_count)s::int is not null and m.state = 'claimed'
    on conflict do nothing
),
updated_chunk as (
    update notify.chunks as c
    set
        claimed_from = case when %(first_position)s <= c.claimed_until then least(c.claimed_from, n.first_id) else n.first_id end,
        claimed_to = case when %(first_position)s <= c.claimed_until then greatest(c.claimed_to, n.last_id) else n.last_id end,
        claimed_until = greatest(c.claimed_until, %(last_position)s),
        first_id = least(c.first_id, n.first_id),
        last_id = greatest(c.last_id, n.last_id),
        suppressed = c.suppressed + n.suppressed,
        expired = c.expired + n.expired,
        unknown = c.unknown - (select count(*) from reclaimed)
    from (
        select
            min(m.delivery_id) as first_id,
            max(m.delivery_id) as last_id,
            count(*) filter (where m.state = 'suppressed') as suppressed,
            count(*) filter (where m.state = 'expired') as expired
        from written as m
    ) as n
    where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s
)
select 'claimed' as disposition, m.line, m.channel::text as channel, m.delivery_id, m.address, m.doubts
from written as m
where m.state = 'claimed'
union all
select 'repeated', e.line, e.channel::text, null, null, 0
from existing as e
union all
select 'unreachable', j.line, j.channel::text, null, null, 0
from eligibility as j
where
    j.address is null
    and j.error_class <> 'user_deleted'
    -- When a page is processed again, deliveries that ended while the user still had an address are not counted as unreachable.
    and not exists (
        select 1
        from notify.deliveries as d
        where
            d.notice_id = %(notice_id)s
            and d.dedupe_key = j.dedupe_key
            and d.channel = j.channel
            and d.user_id = j.user_id
            and d.run_id = %(run_id)s
            and d.ordinal = %(ordinal)s
    );

-- name: record_updates
-- Record the outcomes of a page and the position of the chunk in one statement, so that neither is ever stored without the other.
-- A page without messages does not count for the rate. A delivery that may have arrived at an earlier try ends as `unknown`, even if the last
-- try failed or came too late.
with updates as (
    select t.delivery_id, t.state, t.doubts, t.error_class, t.error, t.invalid_address
    from
        unnest(
            %(delivery_ids)s::bigint[],
            %(states)s::notify.state[],
            %(doubts)s::smallint[],
            %(error_classes)s::text[],
            %(errors)s::text[],
            %(invalid_addresses)s::text[]
        ) as t (delivery_id, state, doubts, error_class, error, invalid_address)
),
deferrals as (
    select t.delivery_id, t.position, t.reason, t.destination, t.wait, t.tries
    from
        unnest(
            %(deferred_ids)s::bigint[],
            %(positions)s::bigint[],
            %(reasons)s::text[],
            %(destinations)s::text[],
            %(waits)s::interval[],
            %(tries)s::smallint[]
        ) as t (delivery_id, position, reason, destination, wait, tries)
),
ended as (
    update notify.deliveries as d
    set
        state = case
            when t.state in ('failed', 'expired') and d.doubts + t.doubts > 0 then 'unknown'
            else t.state
        end,
        doubts = d.doubts + t.doubts,
        ended_at = case when t.state <> 'deferred' then now() end,
        -- What waits without a try keeps the answer of its last one.
        error_class = case when t.state = 'deferred' then coalesce(t.error_class, d.error_class) else t.error_class end,
        error = case when t.state = 'deferred' then coalesce(t.error, d.error) else t.error end
    from updates as t
    where d.delivery_id = t.delivery_id and d.state = 'claimed' and d.attempt = %(attempt)s
    returning d.delivery_id, d.run_id, d.user_id, d.channel, d.state, d.claimed_at, d.error_class, d.error, t.invalid_address
),
deferred as (
    insert into notify.deferrals as target (
        delivery_id, run_id, ordinal, position, reason, destination, not_before, tries, first_tried_at, error_class
    )
    select
        e.delivery_id,
        %(run_id)s,
        %(ordinal)s,
        t.position,
        t.reason,
        t.destination,
        clock_timestamp() + t.wait,
        t.tries,
        case when t.tries > 0 or t.reason = 'retry' then clock_timestamp() end,
        e.error_class
    from ended as e
    inner join deferrals as t using (delivery_id)
    on conflict (delivery_id) do update set
        reason = excluded.reason,
        destination = excluded.destination,
        not_before = excluded.not_before,
        tries = excluded.tries,
        first_tried_at = coalesce(target.first_tried_at, excluded.first_tried_at),
        error_class = excluded.error_class
),
ended_deferrals as (
    delete from notify.deferrals as f
    using ended as e
    where f.delivery_id = e.delivery_id and e.state <> 'deferred'
),
bounced as (
    {record_refusals}
),
accepted as (
    {record_acceptances}
),
counted_failures as (
    insert into notify.failures as target (run_id, ordinal, error_class, deliveries)
    select %(run_id)s, %(ordinal)s, coalesce(e.error_class, 'unclassified'), count(*)
    from ended as e
    where e.state = 'failed'
    group by coalesce(e.error_class, 'unclassified')
    on conflict (run_id, ordinal, error_class) do update set deliveries = target.deliveries + excluded.deliveries
)
update notify.chunks as c
set
    position = greatest(c.position, %(position)s),
    walked = c.walked + %(walked)s,
    sent = c.sent + n.sent,
    failed = c.failed + n.failed,
    expired = c.expired + n.expired,
    unknown = c.unknown + n.unknown,
    deferred = c.deferred + n.deferred,
    unreachable = c.unreachable + %(unreachable)s,
    repeated = c.repeated + %(repeated)s,
    page_ends = case when n.messages > 0 then (c.page_ends || clock_timestamp())[cardinality(c.page_ends) - 30:] else c.page_ends end,
    page_sizes = case when n.messages > 0 then (c.page_sizes || n.messages)[cardinality(c.page_sizes) - 30:] else c.page_sizes end
from (
    select
        count(*) filter (where e.state = 'sent') as sent,
        count(*) filter (where e.state = 'failed') as failed,
        count(*) filter (where e.state = 'expired') as expired,
        count(*) filter (where e.state = 'unknown') as unknown,
        count(*) filter (where e.state = 'deferred') as deferred,
        count(*) filter (where e.state in ('sent', 'failed', 'unknown'))::int as messages
    from ended as e
) as n
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s;

-- name: release
-- Undo the claims of messages that were certainly not sent, because the run was paused or its channel broke.
-- A delivery that was `deferred` or `unknown` before its claim becomes so again; the row of any other is deleted.
with released as (
    select d.delivery_id, d.doubts, f.delivery_id is not null as is_deferred
    from notify.deliveries as d
    left join notify.deferrals as f using (delivery_id)
    where
        d.delivery_id = any(%(delivery_ids)s)
        and d.state = 'claimed'
        and d.attempt = %(attempt)s
),
restored as (
    update notify.deliveries as d
    set
        state = case when p.is_deferred then 'deferred' else 'unknown' end::notify.state,
        ended_at = case when not p.is_deferred then now() end,
        error_class = case when p.is_deferred then d.error_class else 'killed' end
    from released as p
    where d.delivery_id = p.delivery_id and (p.is_deferred or p.doubts > 0)
    returning d.state
),
removed as (
    delete from notify.deliveries as d
    using released as p
    where d.delivery_id = p.delivery_id and not p.is_deferred and p.doubts = 0
)
update notify.chunks as c
set
    unknown = c.unknown + n.unknown,
    deferred = c.deferred + n.deferred
from (
    select
        count(*) filter (where g.state = 'unknown') as unknown,
        count(*) filter (where g.state = 'deferred') as deferred
    from restored as g
) as n
where c.run_id = %(run_id)s and c.ordinal = %(ordinal)s;

-- name: list_by_user
-- Deliveries to a user. There is no index by user: a run over all users would touch all of it, at the cost of a page of WAL for every few
-- rows. Instead, each known dedupe key is looked up in the unique index: the periods of all runs, and the extra keys of the caller.
with keys as (
    select r.notice_id, r.period as dedupe_key
    from notify.runs as r
    union
    select n.notice_id, k.dedupe_key
    from notify.notices as n, unnest(%(extra_keys)s::text[]) as k (dedupe_key)
)
select
    n.name as notice,
    d.dedupe_key as key,
    d.channel::text as channel,
    d.state::text as state,
    d.error_class,
    d.run_id,
    d.claimed_at,
    d.ended_at
from keys as k
inner join notify.notices as n using (notice_id)
cross join unnest(enum_range(null::notify.channel)) as v (channel)
inner join notify.deliveries as d
    on d.notice_id = k.notice_id
    and d.dedupe_key = k.dedupe_key
    and d.channel = v.channel
    and d.user_id = %(user_id)s
where %(notice)s::text is null or n.name = %(notice)s
order by d.claimed_at desc, d.delivery_id desc
limit %(limit)s;
