-- name: eligibility
-- Whether each recipient of a page may be sent a message over a channel at this moment. `claim`, `check_recipient` and `count_audience` all
-- contain it, so that previews and sends agree.
-- Only a category with a cap looks up what its users got lately: `h` counts that, and `rank` numbers what is new to each user, so that of
-- several messages in one page no more are allowed than the cap leaves. What was sent over one channel already is not new.
select
    p.line,
    p.user_id,
    p.dedupe_key,
    p.channel,
    a.address,
    case
        when %(expires_at)s::timestamptz <= clock_timestamp() then 'expired'
        when
            u.user_id is null
            or s.address is not null
            or (%(consent)s = 'opt_out' and not coalesce(k.granted, true))
            or (%(consent)s = 'opt_in' and not coalesce(k.granted, false))
            or p.rank + h.messages > %(cap_count)s::int
            then 'suppressed'
        else 'claimed'
    end::notify.state as state,
    case
        when u.user_id is null then 'user_deleted'
        when s.address is not null then 'suppressed_address'
        when k.granted or (%(consent)s <> 'opt_in' and k.granted is null) then 'capped'
        else 'no_consent'
    end as error_class,
    u.time_zone
from (
    select
        g.line,
        g.user_id,
        g.dedupe_key,
        g.channel,
        case when n.is_new then dense_rank() over (partition by g.user_id, n.is_new order by g.dedupe_key) end as rank
    from page as g
    cross join lateral (
        select
            %(cap_count)s::int is not null
            and not exists (
                select 1
                from notify.deliveries as d
                where
                    d.notice_id = (select o.notice_id from notify.notices as o where o.name = %(notice)s)
                    and d.dedupe_key = g.dedupe_key
                    and d.channel = any(enum_range(null::notify.channel))
                    and d.user_id = g.user_id
                    and d.state <> 'deferred'
            ) as is_new
        offset 0
    ) as n
) as p
left join core.users as u using (user_id)
left join notify.consents as k on k.user_id = p.user_id and k.category = %(category)s
left join lateral (
    select c.address
    from notify.contacts as c
    where c.user_id = p.user_id and c.channel = p.channel and c.ended_at is null
    order by c.contact_id desc
    limit 1
) as a on true
left join notify.suppressions as s
    on s.channel = p.channel
    and s.address = notify.mailbox(p.channel, a.address)
left join lateral (
    select count(distinct (d.notice_id, d.dedupe_key)) as messages
    from notify.recent_deliveries as t
    inner join notify.deliveries as d using (delivery_id)
    where
        p.rank is not null
        and t.user_id = p.user_id
        and t.category = %(category)s
        and d.state in ('claimed', 'sent', 'unknown')
        and coalesce(d.ended_at, d.claimed_at) > clock_timestamp() - %(cap_per)s::interval
    offset 0
) as h on true;

-- name: check_recipient
-- Eligibility of one user for each channel now, and the delivery that the ledger already has.
with page as (
    select 0 as line, %(user_id)s::bigint as user_id, %(dedupe_key)s::text as dedupe_key, v.channel
    from unnest(%(channels)s::notify.channel[]) as v (channel)
),
eligibility as ({eligibility})
select
    j.channel::text as channel,
    j.address,
    j.state::text as state,
    case when j.state = 'suppressed' then j.error_class end as error_class,
    d.delivery_id,
    d.run_id,
    d.state::text as delivery_state,
    d.error_class as delivery_error_class,
    coalesce(d.ended_at, d.claimed_at) as delivery_state_at
from eligibility as j
left join notify.notices as n on n.name = %(notice)s
left join notify.deliveries as d
    on d.notice_id = n.notice_id
    and d.dedupe_key = j.dedupe_key
    and d.channel = j.channel
    and d.user_id = j.user_id;

-- name: count_audience
-- Dispositions of the messages of a run, if it were sent now, by channel and time zone of its recipients. Only ids and keys are selected from `recipients`, so that Postgres
-- can skip computing the values for the templates.
with audience as (
    select r.user_id, r.dedupe_key
    from ({recipients}) as r
),
page as (
    select 0 as line, a.user_id, a.dedupe_key, v.channel
    from audience as a, unnest(%(channels)s::notify.channel[]) as v (channel)
),
eligibility as ({eligibility}),
dispositions as (
    select
        j.channel,
        case
            when j.address is null and j.error_class <> 'user_deleted' then 'unreachable'
            when
                exists (
                    select 1
                    from notify.deliveries as d
                    inner join notify.notices as n using (notice_id)
                    where
                        n.name = %(notice)s
                        and d.dedupe_key = j.dedupe_key
                        and d.channel = j.channel
                        and d.user_id = j.user_id
                )
                then 'repeated'
            when j.state = 'suppressed' then j.error_class
            else 'to_send'
        end as disposition,
        j.time_zone
    from eligibility as j
)
select f.channel::text as channel, f.disposition, f.time_zone, count(*) as messages
from dispositions as f
group by f.channel, f.disposition, f.time_zone;
