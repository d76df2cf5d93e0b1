-- name: drop_tables
-- A transaction that merges several batches reconciles them one after the other.
drop table if exists pg_temp.full_reads, pg_temp.absent_rows;

-- name: create_full_reads
-- The logins whose feed the staged batch read in full, each with the first day of the history that the provider promised.
-- A read without records is no evidence of anything; nor is one of a login without a promise, or with a rejected record
-- that has no id, since it may be any of the login's rows.
-- Logins that were stale when the batch was first loaded were read, but not loaded.
-- `is_raised`: the time of the read was raised to that of something that was loaded before, and may have been read later.
create temp table full_reads on commit drop as
select
    m.provider_account_id,
    latest.observed_at,
    (latest.observed_at at time zone 'utc')::date - p.history_days as promised_on,
    exists (
        select 1
        from etl.clock_corrections as k
        where
            k.raw_id = %(raw_id)s
            and k.provider_account_id = m.provider_account_id
            and k.observed_at = latest.observed_at
    ) as is_raised,
    case
        when latest.observed_at is null then 'the read has no records'
        when p.history_days is null then 'it is not known how much history the provider promised'
        when nameless.rejects > 0
            then nameless.rejects || ' rejected records have no id, and may be any of the rows'
    end as skipped
from incoming_cursors as m
inner join core.provider_accounts as p using (provider_account_id)
left join (
    select i.provider_account_id, max(i.observed_at) as observed_at
    from incoming as i
    where not i.removed
    group by i.provider_account_id
) as latest using (provider_account_id)
left join (
    select r.provider_account_id, count(*) as rejects
    from etl.rejects as r
    where
        r.entity = %(entity)s
        and r.version = %(version)s
        and r.raw_id >= %(raw_id)s
        and (r.closed_at is null or r.closed_by > %(raw_id)s)
        and (r.record_id is null or r.record_id like 'sha256:%%')
    group by r.provider_account_id
) as nameless using (provider_account_id)
where
    m.whole
    and not exists (
        select 1
        from etl.raw_batches as b
        inner join etl.left_out as l on l.chunk_id = b.chunk_id and l.attempt = b.attempt
        where b.raw_id = %(raw_id)s and l.outcome = 'stale' and l.provider_account_id = m.provider_account_id
    );

-- name: create_absent_rows
-- Live rows that a full read should contain, and does not. `kept` is why a row is not ended all the same. `is_expected`: it is
-- pending in a list of recent days, where each pending row vanishes sooner or later. `account`: of such a list, if it has
-- several of a login.
create temp table absent_rows (
    provider_account_id bigint not null,
    account text not null default '',
    record_id text not null,
    observed_at timestamptz not null,
    last_observed_at timestamptz not null,
    last_raw_id bigint not null,
    kept text,
    is_held boolean not null,
    is_expected boolean not null default false,
    is_disputed boolean not null default false,
    ends boolean not null default false
) on commit drop;

-- name: keep_restored_rows
-- A row that a person brought back is not ended by a read from before that decision; a later read may end it, but only
-- after a person approved it.
update absent_rows as target set
    kept = case when d.decided_at >= b.sealed_at then 'a person brought them back' end,
    is_disputed = d.decided_at < b.sealed_at
from etl.raw_batches as b, (
    select e.provider_account_id, e.record_id, max(r.decided_at) as decided_at
    from etl.ended_rows as e
    inner join etl.reconciliations as r using (raw_id, entity, provider_account_id)
    where
        r.entity = %(entity)s
        and r.raw_id <> %(raw_id)s
        and r.state = 'revoked'
        and r.provider_account_id = any(array(select f.provider_account_id from full_reads as f))
    group by e.provider_account_id, e.record_id
) as d
where
    b.raw_id = %(raw_id)s
    and target.provider_account_id = d.provider_account_id
    and target.record_id = d.record_id
    and target.kept is null;

-- name: summarize
-- The full reads of the staged batch, each with its absent rows: those that this reconciliation ended before, and new
-- ones. `skipped` says what of it is no evidence.
select
    f.provider_account_id,
    r.state,
    coalesce(ended.total, 0)::int as ended_before,
    coalesce(absent.fresh, 0)::int as absent,
    coalesce(absent.is_disputed, false) as is_disputed,
    coalesce(f.skipped, absent.kept) as skipped
from full_reads as f
left join etl.reconciliations as r
    on r.raw_id = %(raw_id)s and r.entity = %(entity)s and r.provider_account_id = f.provider_account_id
left join (
    select e.provider_account_id, count(*) as total
    from etl.ended_rows as e
    where e.raw_id = %(raw_id)s and e.entity = %(entity)s
    group by e.provider_account_id
) as ended on ended.provider_account_id = f.provider_account_id
left join (
    select
        g.provider_account_id,
        sum(g.fresh) as fresh,
        bool_or(g.is_disputed) as is_disputed,
        string_agg(g.total || case g.total when 1 then ' row: ' else ' rows: ' end || g.kept, '; ' order by g.kept)
        filter (where g.kept is not null and g.ordinal <= %(reasons)s) as kept
    from (
        select
            a.provider_account_id,
            a.kept,
            count(*) as total,
            count(*) filter (where a.kept is null and e.record_id is null) as fresh,
            bool_or(a.is_disputed and e.record_id is null) as is_disputed,
            row_number() over (partition by a.provider_account_id order by a.kept) as ordinal
        from absent_rows as a
        left join etl.ended_rows as e
            on
                e.raw_id = %(raw_id)s
                and e.entity = %(entity)s
                and e.provider_account_id = a.provider_account_id
                and e.record_id = a.record_id
        group by a.provider_account_id, a.kept
    ) as g
    group by g.provider_account_id
) as absent on absent.provider_account_id = f.provider_account_id
order by f.provider_account_id;

-- name: count_unexpected
-- New absent rows of each account that do not vanish by nature.
select a.provider_account_id, a.account, count(*)::int as unexpected
from absent_rows as a
where
    a.kept is null
    and not a.is_expected
    and not exists (
        select 1
        from etl.ended_rows as e
        where
            e.raw_id = %(raw_id)s
            and e.entity = %(entity)s
            and e.provider_account_id = a.provider_account_id
            and e.record_id = a.record_id
    )
group by a.provider_account_id, a.account;

-- name: record
-- A replay may find more absent rows than the first load, or fewer reasons to keep them.
insert into etl.reconciliations as target (raw_id, entity, provider_account_id, state, live, absent, skipped)
values (
    %(raw_id)s,
    %(entity)s,
    %(provider_account_id)s,
    %(state)s,
    %(live)s,
    %(absent)s,
    %(skipped)s
)
on conflict (raw_id, entity, provider_account_id) do update set
    state = excluded.state,
    live = greatest(target.live, excluded.live),
    absent = excluded.absent,
    skipped = excluded.skipped;

-- name: choose_rows
-- Choose the absent rows to end. Rows that the same reconciliation ended before end again, also while new ones wait.
update absent_rows as target set
    ends = target.kept is null and (
        r.state in ('applied', 'approved')
        or r.state = 'pending' and exists (
            select 1
            from etl.ended_rows as e
            where
                e.raw_id = r.raw_id
                and e.entity = r.entity
                and e.provider_account_id = r.provider_account_id
                and e.record_id = target.record_id
        )
    ),
    is_held = target.is_held and r.state in ('applied', 'approved')
from etl.reconciliations as r
where
    r.raw_id = %(raw_id)s
    and r.entity = %(entity)s
    and r.provider_account_id = target.provider_account_id;

-- name: record_ended_rows
-- Keep what the rows that end were, so that they can be brought back.
insert into etl.ended_rows (raw_id, entity, provider_account_id, record_id, last_observed_at, last_raw_id)
select %(raw_id)s, %(entity)s, a.provider_account_id, a.record_id, a.last_observed_at, a.last_raw_id
from absent_rows as a
where a.ends
on conflict (raw_id, entity, provider_account_id, record_id) do update set
    last_observed_at = excluded.last_observed_at,
    last_raw_id = excluded.last_raw_id;

-- name: latest
-- The latest reconciliation of each login and entity: first those that wait, then the latest.
select l.raw_id, l.entity, l.provider_account_id, l.state, l.live, l.absent, l.skipped, l.reconciled_at, l.decided_at
from (
    select distinct on (r.provider_account_id, r.entity) r.*
    from etl.reconciliations as r
    order by r.provider_account_id, r.entity, r.raw_id desc
) as l
order by l.state = 'pending' desc, l.reconciled_at desc, l.provider_account_id, l.entity
limit %(limit)s;

-- name: count_pending
-- Logins whose latest reconciliation waits for a person.
select count(distinct l.provider_account_id) as logins
from (
    select distinct on (r.provider_account_id, r.entity) r.provider_account_id, r.state
    from etl.reconciliations as r
    order by r.provider_account_id, r.entity, r.raw_id desc
) as l
where l.state = 'pending';

-- name: of_run
-- The reconciliations of a run that wait, or that left something out.
select r.raw_id, r.entity, r.provider_account_id, r.state, r.live, r.absent, r.skipped, r.reconciled_at, r.decided_at
from etl.chunks as c
inner join etl.raw_batches as b on b.chunk_id = c.chunk_id
inner join etl.reconciliations as r on r.raw_id = b.raw_id and r.entity = c.entity
where
    c.entity = %(entity)s
    and c.run_id = %(run_id)s
    and c.withdrawn_at is null
    and (r.state = 'pending' or r.skipped is not null)
order by r.provider_account_id;

-- name: to_approve
-- The latest reconciliation of a login, if it waits.
select l.raw_id, l.entity, l.provider_account_id, l.state, l.live, l.absent, l.skipped, l.reconciled_at, l.decided_at
from (
    select distinct on (r.entity) r.*
    from etl.reconciliations as r
    where r.provider_account_id = %(provider_account_id)s
    order by r.entity, r.raw_id desc
) as l
where l.state = 'pending'
order by l.entity;

-- name: to_revoke
-- The latest reconciliation of a login and entity that ended rows, or would end them.
select distinct on (r.entity)
    r.raw_id,
    r.entity,
    r.provider_account_id,
    r.state,
    r.live,
    r.absent,
    r.skipped,
    r.reconciled_at,
    r.decided_at
from etl.reconciliations as r
where r.provider_account_id = %(provider_account_id)s and r.state <> 'revoked' and r.absent > 0
order by r.entity, r.raw_id desc;

-- name: decide
-- Record what a person decided.
update etl.reconciliations set state = %(state)s, decided_at = now()
where raw_id = %(raw_id)s and entity = %(entity)s and provider_account_id = %(provider_account_id)s;
