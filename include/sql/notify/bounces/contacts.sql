-- name: find
-- The addresses of a user, by the id in the application; or those that are the same mailbox as an address.
select c.contact_id, c.user_id, u.reference as user_reference, c.channel::text as channel, c.address, c.created_at, c.ended_at, c.ended_for
from notify.contacts as c
inner join core.users as u using (user_id)
where
    c.contact_id in (
        select o.contact_id
        from core.users as w
        inner join notify.contacts as o using (user_id)
        where w.reference = %(text)s
        union all
        select m.contact_id
        from unnest(enum_range(null::notify.channel)) as v (channel)
        inner join notify.contacts as m
            on m.channel = v.channel
            and notify.mailbox(m.channel, m.address) = notify.mailbox(v.channel, %(text)s)
    )
order by c.user_id, c.channel, c.contact_id desc
limit %(limit)s;

-- name: list_events
-- Why addresses were ended and revived, the latest first.
select e.contact_id, e.event, e.reason, e.actor, e.happened_at
from notify.contact_events as e
where e.contact_id = any(%(contact_ids)s)
order by e.happened_at desc, e.event_id desc
limit %(limit)s;

-- name: end
-- Addresses that had ended keep their reason.
with ended as (
    update notify.contacts as c
    set
        ended_at = now(),
        ended_for = %(reason)s
    where c.contact_id = any(%(contact_ids)s) and c.ended_at is null
    returning c.contact_id
)
insert into notify.contact_events (contact_id, event, reason, actor)
select e.contact_id, 'ended', %(reason)s, %(actor)s
from ended as e
order by e.contact_id
returning contact_id;

-- name: count_ended
-- How many addresses ended in a time, by channel and reason.
select c.channel::text as channel, coalesce(c.ended_for, '') as ended_for, count(*) as addresses
from notify.contacts as c
where
    c.ended_at >= %(since)s
    and c.ended_at < %(until)s
    and (%(ended_for)s::text is null or coalesce(c.ended_for, '') = %(ended_for)s)
    and (%(destination)s::text is null or notify.destination(c.channel, c.address) = %(destination)s)
    and (%(contact_ids)s::bigint[] is null or c.contact_id = any(%(contact_ids)s))
group by c.channel, c.ended_for
order by c.channel, c.ended_for;

-- name: revive
-- The next page of what `count_ended` counts. What was said against an address before does not count any more; else the next bounce would end
-- it at once.
with page as (
    select c.contact_id
    from notify.contacts as c
    where
        c.contact_id > %(after)s
        and c.ended_at >= %(since)s
        and c.ended_at < %(until)s
        and (%(ended_for)s::text is null or coalesce(c.ended_for, '') = %(ended_for)s)
        and (%(destination)s::text is null or notify.destination(c.channel, c.address) = %(destination)s)
        and (%(contact_ids)s::bigint[] is null or c.contact_id = any(%(contact_ids)s))
    order by c.contact_id
    limit %(limit)s
    for update
),
revived as (
    update notify.contacts as c
    set
        ended_at = null,
        ended_for = null
    from page as p
    where c.contact_id = p.contact_id
),
forgotten as (
    update notify.bounces as b
    set counts = false
    from page as p
    where b.contact_id = p.contact_id and b.counts is distinct from false
)
insert into notify.contact_events (contact_id, event, reason, actor)
select p.contact_id, 'revived', %(reason)s, %(actor)s
from page as p
order by p.contact_id
returning contact_id;
