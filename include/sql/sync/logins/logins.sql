-- name: count_asked
-- Logins that a run has asked. Other tries of logins that needed one before say nothing about today, and a token that no
-- key decrypts is never sent.
select coalesce(sum(o.value::int), 0)::int as asked
from etl.chunks as c
cross join lateral jsonb_each_text(c.outcome) as o
where
    c.entity = %(entity)s
    and c.run_id = %(run_id)s
    and c.withdrawn_at is null
    and o.key not in ('still_stopped', 'unreadable');

-- name: stops_of_run
-- Logins that the latest attempts of a run's chunks propose to stop, by error code. Those are unresolved that are still
-- as they were then: not linked, stopped or resumed since, nor read by a later download of the entity.
with later as materialized (
    select k.chunk_id, k.attempts, k.start, k.stop, k.opened_at
    from etl.chunks as k
    inner join etl.raw_batches as r on r.chunk_id = k.chunk_id and r.attempt = k.attempts
    where
        k.entity = %(entity)s
        and k.opened_at > (
            select min(c.opened_at)
            from etl.chunks as c
            where c.entity = %(entity)s and c.run_id = %(run_id)s
        )
),
proposals as (
    select
        l.reason,
        l.accepted,
        l.provider_account_id,
        p.state = 'active'
        and p.state_since <= l.left_out_at
        and p.token_version = l.token_version
        and not exists (
            select 1
            from later as k
            where
                k.opened_at > l.left_out_at
                and p.provider_account_id >= k.start
                and p.provider_account_id < k.stop
                and not exists (
                    select 1
                    from etl.left_out as o
                    where
                        o.chunk_id = k.chunk_id
                        and o.attempt = k.attempts
                        and o.provider_account_id = p.provider_account_id
                )
        ) as is_unresolved
    from etl.left_out as l
    inner join etl.chunks as c on c.chunk_id = l.chunk_id and c.attempts = l.attempt
    inner join core.provider_accounts as p on p.provider_account_id = l.provider_account_id
    where
        c.entity = %(entity)s
        and c.run_id = %(run_id)s
        and c.withdrawn_at is null
        and l.outcome = 'stopped'
)
select
    p.reason as code,
    count(*)::int as logins,
    (count(*) filter (where p.accepted))::int as accepted,
    (count(*) filter (where p.is_unresolved))::int as unresolved,
    coalesce(
        (array_agg(p.provider_account_id order by p.provider_account_id) filter (where p.is_unresolved))[1:%(examples)s],
        '{}'
    ) as first_ids
from proposals as p
group by p.reason
order by logins desc, p.reason;

-- name: skipped_by_run
-- Logins that the latest attempts of a run's chunks left out, by outcome; only an error code is told as the reason, as
-- other reasons differ between logins, or that they killed the process. A proposal that was not accepted stopped
-- nothing.
select
    case when l.outcome = 'stopped' and l.accepted is not true then 'not_stopped' else l.outcome end as outcome,
    case
        when l.outcome in ('stopped', 'still_stopped') then l.reason
        when l.outcome = 'quarantined' and q.rule = 'killed' then %(killed)s
    end as reason,
    count(*)::int as logins
from etl.left_out as l
inner join etl.chunks as c on c.chunk_id = l.chunk_id and c.attempts = l.attempt
left join etl.quarantines as q on q.provider_account_id = l.provider_account_id and q.entity = c.entity
where c.entity = %(entity)s and c.run_id = %(run_id)s and c.withdrawn_at is null
group by 1, 2
order by logins desc, 1, 2
limit %(limit)s;

-- name: quarantined_by_run
-- Logins that a run has quarantined and that still are, by the field and the rule that most of their rejects have in
-- common.
select
    q.path,
    q.rule,
    count(*)::int as logins,
    (array_agg(q.provider_account_id order by q.provider_account_id))[1:%(examples)s] as first_ids
from etl.left_out as l
inner join etl.chunks as c on c.chunk_id = l.chunk_id and c.attempts = l.attempt
left join etl.raw_batches as b on b.chunk_id = l.chunk_id and b.attempt = l.attempt
inner join etl.quarantines as q
    on q.provider_account_id = l.provider_account_id
    and q.entity = c.entity
    and q.source = coalesce(b.source, q.source)
where
    c.entity = %(entity)s
    and c.run_id = %(run_id)s
    and c.withdrawn_at is null
    and l.outcome = 'quarantined'
group by q.path, q.rule
order by logins desc, q.path, q.rule;

-- name: count_by_state
-- Logins by state, and those that need a login or are suspended also by the reason; the most frequent first.
select s.state, s.reason, count(*)::int as logins
from (
    select
        case
            when p.state = 'active' and exists (
                select 1
                from etl.quarantines as q
                where q.provider_account_id = p.provider_account_id
            ) then 'quarantined'
            else p.state
        end as state,
        case when p.state in ('needs_login', 'suspended') then p.state_reason end as reason
    from core.provider_accounts as p
    where %(provider)s::text is null or p.provider = %(provider)s
) as s
group by s.state, s.reason
order by logins desc, s.state, s.reason nulls first;

-- name: page
-- The next logins by id; the state of an active one with a quarantined entity is shown as quarantined.
select
    p.provider_account_id as login,
    u.reference as user_reference,
    p.provider,
    p.institution_id,
    p.institution_name,
    case when q.reason is null then p.state else 'quarantined' end as state,
    coalesce(q.reason, p.state_reason) as reason,
    coalesce(q.quarantined_at, p.state_since) as since,
    p.next_try_at
from core.provider_accounts as p
inner join core.users as u using (user_id)
left join lateral (
    select
        concat(e.entity, ': ', e.reason) as reason,
        e.quarantined_at
    from etl.quarantines as e
    where e.provider_account_id = p.provider_account_id
    order by e.quarantined_at, e.entity
    limit 1
) as q on p.state = 'active'
where
    p.provider_account_id > %(after)s
    and (%(login)s::bigint is null or p.provider_account_id = %(login)s)
    and (%(user)s::text is null or u.reference = %(user)s)
    and (%(state)s::text is null or %(state)s = case when q.reason is null then p.state else 'quarantined' end)
order by p.provider_account_id
limit %(limit)s;

-- name: details
-- What else is known of one login.
select
    p.user_id,
    p.item_id,
    p.enrolled_at,
    p.history_days,
    p.token_version,
    p.failed_tries,
    p.replaced_by,
    array(
        select r.provider_account_id
        from core.provider_accounts as r
        where r.user_id = p.user_id and r.replaced_by = p.provider_account_id
        order by r.provider_account_id
    ) as replaces
from core.provider_accounts as p
where p.provider_account_id = %(login)s;

-- name: cursors
-- How far the feeds of a login were loaded.
select c.feed, c.moved_at, c.raw_id, c.generation, c.reread as needs_full_read
from etl.cursors as c
where c.provider_account_id = %(login)s
order by c.feed;

-- name: loads
-- The latest loads of batches that hold a login: those of chunks around its id, except where it was left out, or had a
-- state in which it is not asked.
select r.raw_id, c.entity, r.source, c.run_id, l.loaded_at
from core.provider_accounts as p
inner join etl.chunks as c
    on c.page_size > 0 and p.provider_account_id >= c.start and p.provider_account_id < c.stop
inner join etl.raw_batches as r on r.chunk_id = c.chunk_id and (r.sealed_at >= p.state_since) = (p.state = 'active')
inner join etl.loads as l on l.raw_id = r.raw_id and l.entity = c.entity
where
    p.provider_account_id = %(login)s
    and not exists (
        select 1
        from etl.left_out as o
        where o.chunk_id = r.chunk_id and o.attempt = r.attempt and o.provider_account_id = p.provider_account_id
    )
order by l.loaded_at desc, r.raw_id desc
limit %(limit)s;

-- name: skips
-- The latest runs that left a login out, and why.
select c.entity, c.run_id, o.outcome, o.reason, o.left_out_at
from etl.left_out as o
inner join etl.chunks as c on c.chunk_id = o.chunk_id
where o.provider_account_id = %(login)s
order by o.left_out_at desc, o.chunk_id desc, o.attempt desc
limit %(limit)s;

-- name: accounts
-- Bank accounts of a login.
select a.account_id, a.name, a.mask, a.type, a.currency, a.closed_on
from core.accounts as a
where a.provider_account_id = %(login)s
order by a.account_id
limit %(limit)s;

-- name: quarantines
-- Entities whose latest batch was not loaded for a login.
select q.entity, q.raw_id, q.read, q.rejected, q.path, q.rule, q.reason, q.quarantined_at, q.failures
from etl.quarantines as q
where q.provider_account_id = %(login)s
order by q.entity;

-- name: pending_reconciliations
-- Full reads whose absent rows wait for a decision.
select r.entity, r.raw_id, r.live, r.absent, r.reconciled_at
from etl.reconciliations as r
where r.provider_account_id = %(login)s and r.state = 'pending'
order by r.raw_id, r.entity
limit %(limit)s;

-- name: find_to_unlink
-- What the provider needs to give up the access, and by which the transition recognises a newer token.
select p.provider_account_id, p.provider, p.state, p.access_token, p.token_version, p.item_id
from core.provider_accounts as p
where p.provider_account_id = any(%(logins)s)
order by p.provider_account_id;

-- name: find_states
-- The states of some logins; unknown ones are missing.
select p.provider_account_id, p.state
from core.provider_accounts as p
where p.provider_account_id = any(%(logins)s);

-- name: starved_by_run
-- Logins that a run could not read to their end, as their provider allows no more calls: their number, and the first.
select count(*) as logins, (array_agg(l.provider_account_id order by l.provider_account_id))[:5] as first_ids
from etl.chunks as c
inner join etl.left_out as l on l.chunk_id = c.chunk_id and l.attempt = c.attempts
where
    c.entity = %(entity)s
    and c.run_id = %(run_id)s
    and c.withdrawn_at is null
    and l.outcome = 'starved';
