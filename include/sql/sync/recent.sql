-- name: latest_reads
-- The last day of the latest recent days that were loaded, of some logins, and that of the latest ones that lacked nothing.
select
    r.provider_account_id,
    max(r.last_on) as last_on,
    max(r.last_on) filter (where r.is_complete) as complete_on
from etl.recent_reads as r
where r.source = %(source)s and r.provider_account_id = any(%(provider_account_ids)s)
group by r.provider_account_id;

-- name: record_reads
-- Remember which days of the staged logins were read, and whether a response said that it lacked records: for the window of
-- the next run, and for batches that are loaded late.
insert into etl.recent_reads (provider_account_id, source, first_on, last_on, raw_id, is_complete)
select
    m.provider_account_id,
    %(source)s,
    m.first_on,
    m.last_on,
    %(raw_id)s,
    not exists (
        select 1
        from etl.raw_batches as b
        inner join etl.gaps as g on g.chunk_id = b.chunk_id and g.attempt = b.attempt
        where b.raw_id = %(raw_id)s and g.provider_account_id = m.provider_account_id
    )
from incoming_cursors as m
where m.first_on is not null and m.last_on is not null
order by m.provider_account_id
on conflict do nothing;

-- name: forget_reads
-- Reads of the staged logins that are older than any batch which is still loaded, apart from the latest, and the latest
-- that lacked nothing.
delete from etl.recent_reads as r
using incoming_cursors as m
where
    r.provider_account_id = m.provider_account_id
    and r.source = %(source)s
    and r.loaded_at < now() - %(patience)s
    and exists (
        select 1
        from etl.recent_reads as k
        where
            k.provider_account_id = r.provider_account_id
            and k.source = r.source
            and k.last_on > r.last_on
            and k.is_complete >= r.is_complete
    );

-- name: drop_later_reads
-- A transaction that merges several batches stages them one after the other.
drop table if exists pg_temp.later_reads;

-- name: create_later_reads
-- Of the staged logins, the first day since which lists were loaded that may have been read later than this one, as for
-- snapshots: this one has no say any more about these days, nor about what is pending. Each list ends on the day on which it
-- was read, so that the days have no end.
create temp table later_reads on commit drop as
select r.provider_account_id, min(r.first_on) as first_on, max(later.sealed_at) as sealed_at
from etl.raw_batches as this
inner join etl.recent_reads as r on r.source = this.source and r.raw_id <> this.raw_id
inner join incoming_cursors as m on m.provider_account_id = r.provider_account_id
inner join etl.raw_batches as later
    on later.raw_id = r.raw_id and later.sealed_at > coalesce(this.opened_at, '-infinity')
where this.raw_id = %(raw_id)s
group by r.provider_account_id;

-- name: drop_read_later
-- Drop the staged records of days that a later list has, too: it brought them as they are now, or without those that had
-- vanished. Its first day does not count, since its beginning is the provider's. A replay may restore or mend its own rows.
delete from incoming as i
using later_reads as l
where
    l.provider_account_id = i.provider_account_id
    and l.sealed_at > i.observed_at
    and (i.{dated_by} > l.first_on or {incoming_pending})
    and (
        not %(is_replay)s
        or exists (
            select 1
            from {core} as c
            where {same_key} and c.raw_id <> %(raw_id)s
            offset 0
        )
    );

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
-- is the provider's, and those that are pending. A row is kept where the read is no evidence: it says itself that it lacks
-- records of the row's part of the login, it has no record of the row's account, or a record of the row, or one that replaces
-- it, was rejected. Of the days that a later list has, this one tells nothing; nor of the day of the oldest record of an
-- account, nor of those before, since a provider may have less history than was asked for, such as after a new consent, and
-- that may begin in the middle of a day.
with reported as (
    select
        i.provider_account_id,
        {incoming_account} as account,
        min(i.{dated_by}) filter (where not {incoming_pending}) as oldest_on
    from incoming as i
    group by 1, 2
),
lacking as (
    select g.provider_account_id, g.part_column, g.part, concat_ws(' for ', g.code, nullif(g.part, '')) as reason
    from etl.raw_batches as b
    inner join etl.gaps as g on g.chunk_id = b.chunk_id and g.attempt = b.attempt
    where b.raw_id = %(raw_id)s
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
insert into absent_rows (
    provider_account_id, account, record_id, observed_at, last_observed_at, last_raw_id, kept, is_held, is_expected
)
select
    c.provider_account_id,
    {account},
    {record_id},
    f.observed_at,
    c.observed_at,
    c.raw_id,
    case
        when lack.reason is not null then 'the provider answers ' || lack.reason
        when a.account is null then 'account ' || {account} || ' is not in the read'
        when r.record_id is not null then 'their records were rejected'
    end,
    false,
    {pending}
from full_reads as f
cross join lateral (
    select k.*
    from {core} as k
    where k.provider_account_id = f.provider_account_id and k.removed_at is null
    offset 0
) as c
left join reported as a on a.provider_account_id = c.provider_account_id and a.account = {account}
left join rejected as r on r.provider_account_id = c.provider_account_id and r.record_id = {record_id}
left join lateral (
    select min(g.reason) as reason
    from lacking as g
    where g.provider_account_id = c.provider_account_id and {in_part}
) as lack on true
where
    f.skipped is null
    and (
        (
            c.{dated_by} > f.promised_on
            and c.{dated_by} <= f.last_on
            and coalesce(c.{dated_by} > a.oldest_on, a.account is null)
        )
        or {pending}
    )
    and (c.observed_at, c.raw_id) <= (f.observed_at, %(raw_id)s)
    and not exists (
        select 1
        from later_reads as l
        where
            l.provider_account_id = c.provider_account_id
            and l.sealed_at > f.observed_at
            and (c.{dated_by} > l.first_on or {pending})
    )
    and not exists (
        select 1
        from incoming as i
        where {same_key}
    );

-- name: count_live
-- Live rows of each account that the read tells something of, as `find_absent` says: those of years before would hide that
-- it lacks most of its days.
with reported as (
    select
        i.provider_account_id,
        {incoming_account} as account,
        min(i.{dated_by}) filter (where not {incoming_pending}) as oldest_on
    from incoming as i
    group by 1, 2
)
select c.provider_account_id, a.account, count(*)::int as live
from full_reads as f
cross join lateral (
    select k.*
    from {core} as k
    where k.provider_account_id = f.provider_account_id and k.removed_at is null
    offset 0
) as c
inner join reported as a on a.provider_account_id = c.provider_account_id and a.account = {account}
where
    (
        c.{dated_by} > f.promised_on
        and c.{dated_by} <= f.last_on
        and c.{dated_by} > a.oldest_on
    )
    or {pending}
group by c.provider_account_id, a.account;

-- name: settle
-- Link the pending rows that ended, now or some reads ago, to the posted rows that they became. A posted row fits if it has
-- the same account, amount and currency, is dated on the day of the pending one or a little later, and was not there before
-- that one was last seen, or had ended. Both must have no other candidate: nothing is guessed.
with ended as (
    select a.provider_account_id, a.record_id, a.last_observed_at as seen_at
    from absent_rows as a
    where a.ends
    union all
    select c.provider_account_id, {record_id}, c.observed_at
    from full_reads as f
    inner join {core} as c using (provider_account_id)
    where
        c.provider_account_id = any(array(select o.provider_account_id from full_reads as o))
        and c.{pending_column}
        and c.removed_for = 'absent'
        and c.raw_id <> %(raw_id)s
        and c.{dated_by} + %(within)s >= f.promised_on
),
fitting as (
    select
        c.provider_account_id,
        {record_id} as pending_id,
        p.record_id as posted_id,
        count(*) over (partition by c.provider_account_id, {record_id}) as posted_rows,
        count(*) over (partition by c.provider_account_id, p.record_id) as pending_rows
    from ended as a
    inner join {core} as c on c.provider_account_id = a.provider_account_id and {record_id} = a.record_id
    inner join (
        select k.*, {other_record_id} as record_id
        from {core} as k
        where k.provider_account_id = any(array(select o.provider_account_id from full_reads as o))
    ) as p
        on
            p.provider_account_id = c.provider_account_id
            and p.{account_column} = c.{account_column}
            and p.{amount} = c.{amount}
            and p.{currency} is not distinct from c.{currency}
            and p.{dated_by} >= c.{dated_by}
            and p.{dated_by} <= c.{dated_by} + %(within)s
    where
        c.provider_account_id = any(array(select o.provider_account_id from full_reads as o))
        and c.{pending_column}
        and not p.{pending_column}
        and p.removed_at is null
        and p.observed_at > a.seen_at
        and not exists (
            select 1
            from {core} as taken
            where
                taken.provider_account_id = p.provider_account_id
                and taken.provider_account_id = any(array(select o.provider_account_id from full_reads as o))
                and taken.posted_as = p.record_id
        )
)
update {core} as c set removed_for = 'posted', posted_as = f.posted_id
from fitting as f
where
    f.posted_rows = 1
    and f.pending_rows = 1
    and c.provider_account_id = any(array(select o.provider_account_id from full_reads as o))
    and c.provider_account_id = f.provider_account_id
    and {record_id} = f.pending_id;
