-- name: add
-- Stored in the form in which `eligibility` compares them. An existing suppression keeps its reason and date; a batch may name an address
-- twice.
insert into notify.suppressions as target (address, channel, reason)
select
    notify.mailbox(%(channel)s::notify.channel, p.address) as address,
    %(channel)s::notify.channel,
    p.reason
from unnest(%(addresses)s::text[], %(reasons)s::text[]) as p (address, reason)
order by address
on conflict (address, channel) do nothing
returning target.address;

-- name: remove
-- Any way of writing the same mailbox does.
delete from notify.suppressions as s
where
    s.channel = %(channel)s::notify.channel
    and s.address = notify.mailbox(%(channel)s::notify.channel, %(address)s)
returning s.address;

-- name: find
-- The latest suppressions that match the criteria; null matches all.
select s.address, s.channel::text as channel, s.reason, s.since
from notify.suppressions as s
where
    (%(channel)s::notify.channel is null or s.channel = %(channel)s::notify.channel)
    and (%(reason)s::text is null or s.reason = %(reason)s)
    and (%(address)s::text is null or s.address in (%(address)s, notify.mailbox('email', %(address)s)))
order by s.since desc, s.channel, s.address
limit %(limit)s;

-- name: count_by_reason
-- Number of matching suppressions by channel and reason.
select s.channel::text as channel, s.reason, count(*) as addresses
from notify.suppressions as s
where
    (%(channel)s::notify.channel is null or s.channel = %(channel)s::notify.channel)
    and (%(reason)s::text is null or s.reason = %(reason)s)
    and (%(address)s::text is null or s.address in (%(address)s, notify.mailbox('email', %(address)s)))
group by s.channel, s.reason
order by s.channel, s.reason;
