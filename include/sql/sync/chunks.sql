-- name: count_active_accounts
-- Provider accounts that a run would ask.
select count(*) as rows
from core.due_logins as p
where p.provider = %(provider)s;

-- name: find_waiting
-- Logins that need a login and are not due for another try yet, and when the first of them is.
select count(*)::int as logins, min(p.next_try_at) as first_try_at
from core.provider_accounts as p
where p.provider = %(provider)s and p.state = 'needs_login' and p.next_try_at > now();

-- name: plan_account_chunks
-- Split the provider accounts that a run asks into chunks of equal size, whatever the gaps in their ids; planning a run
-- again replaces its chunks in place.
-- The recursion steps from the first account of each chunk to that of the next. `ntile` would keep all accounts in
-- memory.
with recursive starts as (
    select
        0 as ordinal,
        min(p.provider_account_id) as start
    from core.due_logins as p
    where p.provider = %(provider)s
    union all
    select
        s.ordinal + 1,
        (
            select p.provider_account_id
            from core.due_logins as p
            where
                p.provider = %(provider)s
                and p.provider_account_id >= s.start
            order by p.provider_account_id
            offset greatest(
                ((s.ordinal + 1) * %(rows)s::bigint + %(chunks)s - 1) / %(chunks)s
                - (s.ordinal * %(rows)s::bigint + %(chunks)s - 1) / %(chunks)s,
                1
            )
            limit 1
        )
    from starts as s
    where s.start is not null and s.ordinal + 1 < %(chunks)s
),
bounds as (
    select
        s.ordinal,
        s.start,
        lead(s.start) over (order by s.ordinal) as stop
    from starts as s
    where s.start is not null
)
insert into etl.chunks as target (entity, run_id, ordinal, start, stop, page_size, first_day, last_day)
select
    %(entity)s,
    %(run_id)s,
    b.ordinal,
    b.start,
    coalesce(
        b.stop,
        (
            select max(p.provider_account_id) + 1
            from core.due_logins as p
            where p.provider = %(provider)s
        )
    ),
    %(page_size)s,
    %(first_day)s,
    %(last_day)s
from bounds as b
order by b.ordinal
on conflict (entity, run_id, ordinal) do update set
    start = excluded.start,
    stop = excluded.stop,
    page_size = excluded.page_size,
    first_day = excluded.first_day,
    last_day = excluded.last_day,
    outcome = '{}',
    planned_at = now(),
    withdrawn_at = null
returning target.ordinal;

-- name: count_pending_batches
-- Raw batches that an entity has not loaded yet, whichever entity's run downloaded them.
select count(*) as rows
from etl.raw_batches as r
where
    r.source = any(%(sources)s)
    and r.purged_at is null
    and not exists (
        select 1
        from etl.loads as l
        where l.raw_id = r.raw_id and l.entity = %(entity)s and l.version = %(version)s
    );

-- name: plan_batch_chunks
-- Split the raw batches that an entity has not loaded yet into chunks; this includes batches that earlier runs missed.
with pending as (
    select
        r.raw_id,
        ntile(%(chunks)s) over (order by r.raw_id) - 1 as ordinal
    from etl.raw_batches as r
    where
        r.source = any(%(sources)s)
        and r.purged_at is null
        and not exists (
            select 1
            from etl.loads as l
            where l.raw_id = r.raw_id and l.entity = %(entity)s and l.version = %(version)s
        )
)
insert into etl.chunks as target (entity, run_id, ordinal, start, stop, page_size)
select
    %(entity)s,
    %(run_id)s,
    p.ordinal,
    min(p.raw_id),
    max(p.raw_id) + 1,
    0
from pending as p
group by p.ordinal
order by p.ordinal
on conflict (entity, run_id, ordinal) do update set
    start = excluded.start,
    stop = excluded.stop,
    planned_at = now(),
    withdrawn_at = null
returning target.ordinal;

-- name: pending_batches
-- Raw batches of a chunk that its entity has not loaded yet.
select r.raw_id
from etl.raw_batches as r
where
    r.source = any(%(sources)s)
    and r.purged_at is null
    and r.raw_id >= %(start)s
    and r.raw_id < %(stop)s
    and not exists (
        select 1
        from etl.loads as l
        where l.raw_id = r.raw_id and l.entity = %(entity)s and l.version = %(version)s
    )
order by r.raw_id;

-- name: withdraw_surplus_chunks
-- Withdraw the chunks of an earlier plan of the same run that exceed the number of chunks of the new plan.
update etl.chunks set withdrawn_at = now()
where entity = %(entity)s and run_id = %(run_id)s and ordinal >= %(chunks)s and withdrawn_at is null;

-- name: open_attempt
-- Start a download attempt, whose pages are stored apart from those of every earlier attempt.
-- An attempt without an outcome was killed, most likely for its memory: the next one requests pages of half the size.
update etl.chunks set
    attempts = attempts + 1,
    page_size = case when attempts > 0 and outcome is null then greatest(page_size / 2, 1) else page_size end,
    outcome = null,
    opened_at = now()
where entity = %(entity)s and run_id = %(run_id)s and ordinal = %(ordinal)s and withdrawn_at is null
returning chunk_id, start, stop, page_size, first_day, last_day, attempts as attempt, opened_at;

-- name: close_attempt
-- Record the outcomes of the chunk's provider accounts, unless a later attempt has started.
update etl.chunks set outcome = %(outcome)s
where chunk_id = %(chunk_id)s and attempts = %(attempt)s;

-- name: record_skipped_account
-- Record why an attempt skipped a provider account.
insert into etl.left_out (chunk_id, attempt, provider_account_id, outcome, reason, token_version)
values (%(chunk_id)s, %(attempt)s, %(provider_account_id)s, %(outcome)s, %(reason)s, %(token_version)s)
on conflict do nothing;

-- name: record_gap
-- Record what the pages of a provider account lack.
insert into etl.gaps (chunk_id, attempt, provider_account_id, code, part_column, part, detail)
values (%(chunk_id)s, %(attempt)s, %(provider_account_id)s, %(code)s, %(column)s, %(value)s, %(detail)s);

-- name: gaps_of_run
-- What the responses of a run lack, by its latest attempts.
select distinct
    g.provider_account_id,
    concat_ws(' ', nullif(g.part_column, ''), nullif(g.part, '')) as part,
    concat_ws(': ', g.code, nullif(g.detail, '')) as reason
from etl.gaps as g
inner join etl.chunks as c on c.chunk_id = g.chunk_id and c.attempts = g.attempt
where c.entity = %(entity)s and c.run_id = %(run_id)s and c.withdrawn_at is null
order by g.provider_account_id, part, reason
limit %(limit)s;

-- name: count_incomplete
-- Provider accounts of which a response of a run lacks records.
select count(distinct g.provider_account_id)
from etl.gaps as g
inner join etl.chunks as c on c.chunk_id = g.chunk_id and c.attempts = g.attempt
where c.entity = %(entity)s and c.run_id = %(run_id)s and c.withdrawn_at is null;

-- name: find
-- The chunk with its latest attempt.
select c.chunk_id, c.start, c.stop, c.page_size, c.first_day, c.last_day, c.attempts as attempt, c.opened_at
from etl.chunks as c
where c.entity = %(entity)s and c.run_id = %(run_id)s and c.ordinal = %(ordinal)s and c.withdrawn_at is null;

-- name: outcome_counts
-- Provider accounts of a run by outcome.
select o.key as outcome, sum(o.value::int)::int as accounts
from etl.chunks as c
cross join lateral jsonb_each_text(c.outcome) as o
where c.entity = %(entity)s and c.run_id = %(run_id)s and c.withdrawn_at is null
group by o.key
order by o.key;

-- name: left_out_by_outcome
-- Logins that a run has left out, those of its loads too: the latest attempts count.
select l.outcome, count(*)::int as logins
from etl.left_out as l
inner join etl.chunks as c on c.chunk_id = l.chunk_id and c.attempts = l.attempt
where c.entity = %(entity)s and c.run_id = %(run_id)s and c.withdrawn_at is null
group by l.outcome
order by l.outcome;

-- name: totals
-- What a run has loaded so far, over all attempts of its chunks; a chunk counts as loaded if its latest attempt is.
select
    count(distinct c.chunk_id)::int as chunks,
    (count(distinct c.chunk_id) filter (where l.raw_id is not null and r.attempt = c.attempts))::int as chunks_loaded,
    coalesce(sum(l.read), 0)::int as read,
    coalesce(sum(l.inserted), 0)::int as inserted,
    coalesce(sum(l.updated), 0)::int as updated,
    coalesce(sum(l.unchanged), 0)::int as unchanged,
    coalesce(sum(l.removed), 0)::int as removed,
    coalesce(sum(l.superseded), 0)::int as superseded,
    coalesce(sum(l.stale), 0)::int as stale,
    coalesce(sum(l.rejected), 0)::int as rejected,
    coalesce(sum(l.quarantined), 0)::int as quarantined
from etl.chunks as c
left join etl.raw_batches as r on r.chunk_id = c.chunk_id
left join etl.loads as l on l.raw_id = r.raw_id and l.entity = c.entity and l.version = %(version)s
where c.entity = %(entity)s and c.run_id = %(run_id)s and c.withdrawn_at is null;

-- name: totals_of_raw_batches
-- What a run over the raw batches of another entity has loaded so far.
select
    (
        select count(*)::int
        from etl.chunks as c
        where c.entity = %(entity)s and c.run_id = %(run_id)s and c.withdrawn_at is null
    ) as chunks,
    count(distinct c.chunk_id)::int as chunks_loaded,
    coalesce(sum(l.read), 0)::int as read,
    coalesce(sum(l.inserted), 0)::int as inserted,
    coalesce(sum(l.updated), 0)::int as updated,
    coalesce(sum(l.unchanged), 0)::int as unchanged,
    coalesce(sum(l.removed), 0)::int as removed,
    coalesce(sum(l.superseded), 0)::int as superseded,
    coalesce(sum(l.stale), 0)::int as stale,
    coalesce(sum(l.rejected), 0)::int as rejected,
    coalesce(sum(l.quarantined), 0)::int as quarantined
from etl.chunks as c
inner join etl.loads as l
    on
        l.entity = c.entity
        and l.version = %(version)s
        and l.raw_id >= c.start
        and l.raw_id < c.stop
        and l.loaded_at >= c.planned_at
where c.entity = %(entity)s and c.run_id = %(run_id)s and c.withdrawn_at is null;

-- name: chunks_of_run
-- The chunks of a run, for their labels.
select c.ordinal, c.chunk_id, c.start, c.stop, c.page_size, c.first_day, c.last_day, c.attempts as attempt
from etl.chunks as c
where c.entity = %(entity)s and c.run_id = %(run_id)s and c.withdrawn_at is null
order by c.ordinal;

-- name: count_by_run
-- Number of chunks of each run.
select c.run_id, count(*)::int as chunks
from etl.chunks as c
where c.entity = %(entity)s and c.run_id = any(%(run_ids)s) and c.withdrawn_at is null
group by c.run_id;
