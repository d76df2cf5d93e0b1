-- name: record_refusals
-- Part of `record_updates`: what servers said against addresses, of the deliveries `ended`. An address is not ended here, since one answer
-- proves little; `judge` and `end_addresses` decide later. An e-mail refused with a mailbox status (RFC 3463, 3.3), such as a full one, is soft.
insert into notify.bounces (
    delivery_id, run_id, user_id, contact_id, channel, destination, kind, source, status, detail, tried_at
)
select
    e.delivery_id,
    e.run_id,
    e.user_id,
    c.contact_id,
    e.channel,
    notify.destination(e.channel, c.address),
    case when e.invalid_address is not null then 'hard' else 'soft' end::notify.bounce_kind,
    'server',
    coalesce(e.error_class, ''),
    coalesce(e.error, ''),
    e.claimed_at
from ended as e
cross join lateral (
    select a.contact_id, a.address
    from notify.contacts as a
    where
        a.user_id = e.user_id
        and a.channel = e.channel
        and (a.address = e.invalid_address or (e.invalid_address is null and a.ended_at is null))
    order by a.contact_id desc
    limit 1
) as c
where e.invalid_address is not null or (e.state = 'failed' and e.channel = 'email' and e.error ~ '^[45]\.2\.[0-2]( |$)')
on conflict (delivery_id, kind) do nothing;

-- name: record_acceptances
-- Part of `record_updates`: what was said before against the addresses that have accepted a message now. A report that came before the
-- acceptance was recorded says that this very message did not arrive.
update notify.bounces as b
set
    accepted_at = now(),
    accepted_by = e.delivery_id
from ended as e
where
    e.state = 'sent'
    and b.user_id = e.user_id
    and b.channel = e.channel
    and b.kind in ('hard', 'soft')
    and b.accepted_at is null
    and not exists (
        select 1
        from notify.bounces as r
        where r.delivery_id = e.delivery_id and r.source = 'report' and r.kind in ('hard', 'soft')
    );

-- name: find_delivery
-- The delivery that a report is about, and the address that it went to: the one that the report names, in any way of writing it, or else the
-- one that was in use when it was sent.
select d.delivery_id, d.run_id, d.user_id, n.name as notice, d.claimed_at, c.contact_id, c.address, coalesce(c.is_named, false) as is_named
from notify.deliveries as d
inner join notify.notices as n using (notice_id)
left join lateral (
    select a.contact_id, a.address, m.is_named
    from notify.contacts as a
    cross join lateral (
        select
            exists (
                select 1
                from unnest(%(recipients)s::text[]) as r (address)
                where notify.mailbox(a.channel, r.address) = notify.mailbox(a.channel, a.address)
            ) as is_named
    ) as m
    where
        a.user_id = d.user_id
        and a.channel = d.channel
        and (m.is_named or (a.created_at <= d.claimed_at and (a.ended_at is null or a.ended_at > d.claimed_at)))
    order by m.is_named desc, a.contact_id desc
    limit 1
) as c on true
where
    d.delivery_id = %(delivery_id)s
    and d.channel = 'email'
    and d.state not in ('suppressed', 'expired');

-- name: record_report
-- A report that comes twice counts once. If it takes back that its message was accepted, what was said before counts again.
with recorded as (
    insert into notify.bounces (
        delivery_id, run_id, user_id, contact_id, channel, destination, kind, source, status, detail, tried_at
    )
    values (
        %(delivery_id)s,
        %(run_id)s,
        %(user_id)s,
        %(contact_id)s,
        'email',
        notify.destination('email', %(address)s),
        %(kind)s,
        'report',
        %(status)s,
        %(detail)s,
        %(claimed_at)s
    )
    on conflict (delivery_id, kind) do nothing
    returning user_id, kind
),
not_accepted as (
    update notify.bounces as b
    set
        accepted_at = null,
        accepted_by = null
    from recorded as r
    where r.kind in ('hard', 'soft') and b.user_id = r.user_id and b.accepted_by = %(delivery_id)s
)
select r.user_id
from recorded as r;

-- name: judge
-- Decide of the next bounces, whose hour is over, whether they count: not in a wave, when a destination, or all of them, refused a large share
-- of the deliveries of an hour. Of an hour with few bounces nothing else is read. Of the others, the number of deliveries is estimated from
-- some 20,000 rows of the ledger, evenly taken around those that bounced, since it has no index by time or destination.
with rules as (
    select r.channel, r.wave_size, r.wave_share
    from unnest(%(channels)s::notify.channel[], %(wave_sizes)s::int[], %(wave_shares)s::float[]) as r (channel, wave_size, wave_share)
),
open as (
    select b.bounce_id, b.channel, b.destination, date_bin('1 hour', b.tried_at, '2000-01-01 00:00+00') as hour
    from notify.bounces as b
    where b.counts is null and b.kind in ('hard', 'soft') and b.tried_at < date_bin('1 hour', %(before)s, '2000-01-01 00:00+00')
    order by b.bounce_id
    limit %(limit)s
    for update
),
hours as (
    select distinct o.channel, o.hour
    from open as o
),
tallies as (
    select
        h.channel,
        h.hour,
        grouping(b.destination) = 1 as is_channel,
        b.destination,
        count(*) as bounces,
        min(b.delivery_id) as first_id,
        max(b.delivery_id) as last_id
    from hours as h
    inner join notify.bounces as b
        on b.channel = h.channel
        and b.tried_at >= h.hour
        and b.tried_at < h.hour + interval '1 hour'
        and b.kind in ('hard', 'soft')
    group by grouping sets ((h.channel, h.hour, b.destination), (h.channel, h.hour))
),
ranges as (
    select
        t.channel,
        t.hour,
        t.first_id - 10000 as first_id,
        t.last_id + 10000 as last_id,
        greatest(1, (t.last_id - t.first_id) / 20000) as step
    from tallies as t
    inner join rules as r using (channel)
    where t.is_channel and t.bounces >= r.wave_size
),
sampled as (
    select g.channel, g.hour, g.step, notify.destination(g.channel, c.address) as destination
    from ranges as g
    cross join lateral generate_series(g.first_id, g.last_id, g.step) as s (delivery_id)
    inner join notify.deliveries as d
        on d.delivery_id = s.delivery_id
        and d.channel = g.channel
        and d.state in ('sent', 'failed', 'unknown')
        and d.claimed_at >= g.hour
        and d.claimed_at < g.hour + interval '1 hour'
    cross join lateral (
        select a.address
        from notify.contacts as a
        where a.user_id = d.user_id and a.channel = d.channel and a.ended_at is null
        order by a.contact_id desc
        limit 1
    ) as c
),
tried as (
    select s.channel, s.hour, grouping(s.destination) = 1 as is_channel, s.destination, sum(s.step) as deliveries
    from sampled as s
    group by grouping sets ((s.channel, s.hour, s.destination), (s.channel, s.hour))
),
waves as materialized (
    select t.channel, t.hour, t.is_channel, t.destination
    from tallies as t
    inner join rules as r using (channel)
    left join tried as d
        on d.channel = t.channel
        and d.hour = t.hour
        and d.is_channel = t.is_channel
        and d.destination is not distinct from t.destination
    where
        t.bounces >= r.wave_size
        and t.bounces >= r.wave_share * coalesce(d.deliveries, 0)
)
update notify.bounces as b
set
    counts =
        not exists (
            select 1
            from waves as w
            where w.channel = o.channel and w.hour = o.hour and (w.is_channel or w.destination = o.destination)
        )
        and not exists (
            select 1
            from unnest(%(unhealthy_channels)s::notify.channel[], %(unhealthy_destinations)s::text[]) as u (channel, destination)
            where u.channel = o.channel and u.destination = o.destination
        )
from open as o
where b.bounce_id = o.bounce_id
returning b.contact_id, b.counts;

-- name: end_addresses
-- End the addresses, of those given, against which enough was said on enough days, and say why. A message that an address accepted clears what
-- was said before; what reports said, only once no report has followed for some days.
with rules as (
    select r.channel, r.hard_days, r.hard_span, r.soft_days, r.soft_span
    from
        unnest(
            %(channels)s::notify.channel[],
            %(hard_days)s::int[],
            %(hard_spans)s::interval[],
            %(soft_days)s::int[],
            %(soft_spans)s::interval[]
        ) as r (channel, hard_days, hard_span, soft_days, soft_span)
),
said as (
    select
        b.contact_id,
        b.channel,
        count(distinct (b.tried_at at time zone 'utc')::date) as days,
        max(b.tried_at) - min(b.tried_at) as span,
        count(distinct (b.tried_at at time zone 'utc')::date) filter (where b.kind = 'hard') as hard_days,
        max(b.tried_at) filter (where b.kind = 'hard') - min(b.tried_at) filter (where b.kind = 'hard') as hard_span,
        (array_agg(b.status order by b.tried_at desc))[1] as status
    from notify.bounces as b
    where
        b.contact_id = any(%(contact_ids)s)
        and b.counts
        and b.kind in ('hard', 'soft')
        and b.tried_at > %(as_of)s::timestamptz - %(memory)s::interval
        and (b.accepted_at is null or (b.source = 'report' and b.accepted_at > %(as_of)s::timestamptz - %(report_delay)s::interval))
    group by b.contact_id, b.channel
),
due as (
    select s.contact_id, s.status
    from said as s
    inner join rules as r using (channel)
    where (s.hard_days >= r.hard_days and s.hard_span >= r.hard_span) or (s.days >= r.soft_days and s.span >= r.soft_span)
),
ended as (
    update notify.contacts as c
    set
        ended_at = now(),
        ended_for = d.status
    from due as d
    where c.contact_id = d.contact_id and c.ended_at is null
    returning c.contact_id, c.ended_for
)
insert into notify.contact_events (contact_id, event, reason, actor)
select e.contact_id, 'ended', e.ended_for, 'bounces'
from ended as e
order by e.contact_id;

-- name: count_by_run
-- Deliveries of a run that bounced or led to a complaint, by kind.
select b.kind::text as kind, count(*) as deliveries
from notify.bounces as b
where b.run_id = %(run_id)s
group by b.kind
order by b.kind;

-- name: list_by_contact
-- What was said against an address, the latest first.
select b.kind::text as kind, b.source, b.status, b.detail, b.tried_at, b.recorded_at, b.counts, b.accepted_at, b.delivery_id
from notify.bounces as b
where b.contact_id = %(contact_id)s
order by b.tried_at desc, b.bounce_id desc
limit %(limit)s;
