-- name: told
-- What a user got. There is no index by user: it would cost the sender a page of log for every few rows, since a run over all users touches all
-- of it. But every key that was told of is known, and the unique index answers for each: the periods of the runs, and those that are asked for.
with keys as (
    select r.notice_id, r.period as dedupe_key
    from notify.runs as r
    union
    select n.notice_id, k.dedupe_key
    from notify.notices as n, unnest(%(keys)s::text[]) as k (dedupe_key)
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
