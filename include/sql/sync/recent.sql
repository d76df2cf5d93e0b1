-- name: latest_reads
-- The last day of the latest recent days that were loaded, of some logins.
select r.provider_account_id, r.last_on
from etl.recent_reads as r
where r.source = %(source)s and r.provider_account_id = any(%(provider_account_ids)s);

-- name: record_reads
-- Remember how far the staged logins were read, for the window of the next run. A batch that is loaded late changes
-- nothing.
insert into etl.recent_reads as r (provider_account_id, source, first_on, last_on, raw_id)
select m.provider_account_id, %(source)s, m.first_on, m.last_on, %(raw_id)s
from incoming_cursors as m
where m.first_on is not null and m.last_on is not null
order by m.provider_account_id
on conflict (provider_account_id, source) do update set
    first_on = excluded.first_on,
    last_on = excluded.last_on,
    raw_id = excluded.raw_id,
    loaded_at = now()
where r.last_on <= excluded.last_on and r.raw_id < excluded.raw_id;

-- name: create_full_reads
-- The logins whose recent days the staged batch read without a break, each with the first and the last of these days. A
-- read without records is no evidence of anything; nor is one with a rejected record that has no id, since it may be any
-- of the login's rows.
create temp table full_reads on commit drop as
select
    m.provider_account_id,
    latest.observed_at,
    m.first_on as promised_on,
    m.last_on,
    false as is_raised,
    case
        when latest.observed_at is null then 'the read has no records'
        when nameless.rejects > 0
            then nameless.rejects || ' rejected records have no id, and may be any of the rows'
    end as skipped
from incoming_cursors as m
left join (
    select i.provider_account_id, max(i.observed_at) as observed_at
    from incoming as i
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
where m.whole and m.first_on is not null;

-- name: find_absent
-- The live rows that the read should contain, and does not: those dated in it, apart from its first day, whose beginning
-- is the provider's, and those that are pending. Days before the oldest record of an account are none of the read either:
-- a provider may have less history than was asked for, such as after a new consent. A row is kept where the read is no
-- evidence: it has no record of the row's account, or a record of the row, or one that replaces it, was rejected.
with reported as (
    select
        i.provider_account_id,
        {incoming_account} as account,
        min(i.{dated_by}) filter (where not {incoming_pending}) as oldest_on
    from incoming as i
    group by 1, 2
),
rejected as (
    select distinct r.provider_account_id, k.record_id
    from etl.rejects as r
    inner join full_reads as f using (provider_account_id)
    cross join lateral (values (r.record_id), (r.replaces)) as k (record_id)
    where
        r.entity = %(entity)s
        and r.version = %(version)s
        and r.raw_id >= %(raw_id)s
        and (r.closed_at is null or r.closed_by > %(raw_id)s)
)
insert into absent_rows (provider_account_id, record_id, observed_at, last_observed_at, last_raw_id, kept, is_held)
select
    c.provider_account_id,
    {record_id},
    f.observed_at,
    c.observed_at,
    c.raw_id,
    case
        when a.account is null then 'account ' || {account} || ' is not in the read'
        when r.record_id is not null then 'their records were rejected'
    end,
    false
from full_reads as f
inner join {core} as c using (provider_account_id)
left join reported as a on a.provider_account_id = c.provider_account_id and a.account = {account}
left join rejected as r on r.provider_account_id = c.provider_account_id and r.record_id = {record_id}
where
    f.skipped is null
    and c.removed_at is null
    and (
        (
            c.{dated_by} > f.promised_on
            and c.{dated_by} <= f.last_on
            and coalesce(c.{dated_by} >= a.oldest_on, a.account is null)
        )
        or {pending}
    )
    and (c.observed_at, c.raw_id) <= (f.observed_at, %(raw_id)s)
    and not exists (
        select 1
        from incoming as i
        where {same_key}
    );

-- name: settle
-- Link the pending rows that ended to the posted rows that they became. A posted row fits if it has the same account,
-- amount and currency, is dated on the day of the pending one or a little later, and was not there before that one was
-- last seen. Both must have no other candidate: nothing is guessed.
with fitting as (
    select
        c.provider_account_id,
        {record_id} as pending_id,
        p.record_id as posted_id,
        count(*) over (partition by c.provider_account_id, {record_id}) as posted_rows,
        count(*) over (partition by c.provider_account_id, p.record_id) as pending_rows
    from absent_rows as a
    inner join {core} as c on c.provider_account_id = a.provider_account_id and {record_id} = a.record_id
    inner join (
        select k.*, {other_record_id} as record_id
        from {core} as k
    ) as p
        on
            p.provider_account_id = c.provider_account_id
            and p.{account_column} = c.{account_column}
            and p.{amount} = c.{amount}
            and p.{currency} is not distinct from c.{currency}
            and p.{dated_by} >= c.{dated_by}
            and p.{dated_by} <= c.{dated_by} + %(within)s
    where
        a.ends
        and c.{pending_column}
        and not p.{pending_column}
        and p.removed_at is null
        and p.observed_at > a.last_observed_at
        and not exists (
            select 1
            from {core} as taken
            where taken.provider_account_id = p.provider_account_id and taken.posted_as = p.record_id
        )
)
update {core} as c set removed_for = 'posted', posted_as = f.posted_id
from fitting as f
where
    f.posted_rows = 1
    and f.pending_rows = 1
    and c.provider_account_id = f.provider_account_id
    and {record_id} = f.pending_id;
