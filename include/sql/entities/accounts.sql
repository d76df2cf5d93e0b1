-- name: table
-- A bank account belongs to one provider account; its id is unique only within that.
create table if not exists core.accounts (
    provider_account_id bigint not null references core.provider_accounts,
    account_id text not null,
    name text,
    official_name text,
    mask text,
    type text,
    subtype text,
    balance_current numeric(28, 10),
    balance_available numeric(28, 10),
    balance_limit numeric(28, 10),
    currency text,
    unofficial_currency text,
    persistent_id text,
    balance_as_of timestamptz,
    closed_on date,
    outdated_at timestamptz,
    observed_at timestamptz not null,
    raw_id bigint not null references etl.raw_batches,
    primary key (provider_account_id, account_id)
);

comment on table core.accounts is 'Bank accounts as last seen at the provider.';
comment on column core.accounts.balance_current is 'What the account holds, or what is owed on a credit account, in major units of `currency`.';
comment on column core.accounts.persistent_id is 'Id that stays when the login is linked again; only some institutions have one.';
comment on column core.accounts.balance_as_of is 'As of when the institution says that the balances are; null where it does not say.';
comment on column core.accounts.closed_on is 'UTC day of the snapshot that no longer had the account, or on which a login with the same account replaced it; null while it is open.';
comment on column core.accounts.observed_at is 'When the row was first observed with its current values.';
comment on column core.accounts.raw_id is 'The raw batch that holds the record as sent.';

-- name: merge
-- Upsert the records of a typed batch that differ from their rows, and count them. The join drops unchanged records
-- first: `on conflict … where` alone would lock each of their rows and log it to the WAL.
-- Ordered by key, so that parallel merges cannot deadlock. A lock excludes other loads of this entity, so that
-- `row_exists` stays valid.
-- Each row is looked up by its key, so that the cost of a batch does not depend on the size of the table: `offset 0`
-- keeps the planner from scanning the table instead.
-- An account that a snapshot has is open, unless the account of a login that was linked later replaces it: then it is
-- closed, whichever batch comes late or is replayed.
-- A later snapshot may repeat an older balance, since the provider caches them: the balances of the row stay if they are
-- as of a later time, which must not lie in the future, and are in the same currency.
with differing as materialized (
    select
        i.provider_account_id,
        i.account_id,
        i.name,
        i.official_name,
        i.mask,
        i.type,
        i.subtype,
        b.balance_current,
        b.balance_available,
        b.balance_limit,
        i.currency,
        i.unofficial_currency,
        i.persistent_id,
        b.balance_as_of,
        case when r.replaced_on is not null then coalesce(c.closed_on, r.replaced_on) end as closed_on,
        i.observed_at,
        c.observed_at is not null as row_exists,
        coalesce(c.observed_at > i.observed_at, false) as superseded
    from incoming as i
    left join lateral (
        select k.*
        from core.accounts as k
        where
            k.provider_account_id = i.provider_account_id
            and k.account_id = i.account_id
        offset 0
    ) as c on true
    cross join lateral (
        select (min(k.replaced_at) at time zone 'utc')::date as replaced_on
        from core.replaced_accounts as k
        where
            k.old_provider_account_id = i.provider_account_id
            and k.old_account_id = i.account_id
            and k.undone_at is null
    ) as r
    cross join lateral (
        select
            coalesce(
                c.balance_as_of > i.balance_as_of
                and c.balance_as_of <= i.observed_at
                and (c.currency, c.unofficial_currency) is not distinct from (i.currency, i.unofficial_currency),
                false
            ) as is_newer
    ) as kept
    cross join lateral (
        select
            case when kept.is_newer then c.balance_current else i.balance_current end as balance_current,
            case when kept.is_newer then c.balance_available else i.balance_available end as balance_available,
            case when kept.is_newer then c.balance_limit else i.balance_limit end as balance_limit,
            case when kept.is_newer then c.balance_as_of else i.balance_as_of end as balance_as_of
    ) as b
    where
        c.observed_at is null
        or (c.closed_on is null) <> (r.replaced_on is null)
        or c.outdated_at <= i.observed_at
        or (
            i.name,
            i.official_name,
            i.mask,
            i.type,
            i.subtype,
            b.balance_current,
            b.balance_available,
            b.balance_limit,
            i.currency,
            i.unofficial_currency,
            i.persistent_id,
            b.balance_as_of
        ) is distinct from (
            c.name,
            c.official_name,
            c.mask,
            c.type,
            c.subtype,
            c.balance_current,
            c.balance_available,
            c.balance_limit,
            c.currency,
            c.unofficial_currency,
            c.persistent_id,
            c.balance_as_of
        )
),
merged as (
    insert into core.accounts as target (
        provider_account_id,
        account_id,
        name,
        official_name,
        mask,
        type,
        subtype,
        balance_current,
        balance_available,
        balance_limit,
        currency,
        unofficial_currency,
        persistent_id,
        balance_as_of,
        closed_on,
        observed_at,
        raw_id
    )
    select
        d.provider_account_id,
        d.account_id,
        d.name,
        d.official_name,
        d.mask,
        d.type,
        d.subtype,
        d.balance_current,
        d.balance_available,
        d.balance_limit,
        d.currency,
        d.unofficial_currency,
        d.persistent_id,
        d.balance_as_of,
        d.closed_on,
        d.observed_at,
        %(raw_id)s
    from differing as d
    where not d.superseded
    order by d.provider_account_id, d.account_id
    on conflict (provider_account_id, account_id) do update set
        name = excluded.name,
        official_name = excluded.official_name,
        mask = excluded.mask,
        type = excluded.type,
        subtype = excluded.subtype,
        balance_current = excluded.balance_current,
        balance_available = excluded.balance_available,
        balance_limit = excluded.balance_limit,
        currency = excluded.currency,
        unofficial_currency = excluded.unofficial_currency,
        persistent_id = excluded.persistent_id,
        balance_as_of = excluded.balance_as_of,
        closed_on = excluded.closed_on,
        outdated_at = case when target.outdated_at > excluded.observed_at then target.outdated_at end,
        observed_at = excluded.observed_at,
        raw_id = excluded.raw_id
    where target.observed_at <= excluded.observed_at
)
select
    count(*) filter (where not row_exists) as inserted,
    count(*) filter (where row_exists and not superseded) as updated,
    count(*) filter (where superseded) as superseded
from differing;

-- name: close_missing
-- Close the accounts that a login's snapshot no longer has, as of its observation. Return those, and those that stay
-- open for a reason: an empty snapshot is no evidence, a rejected record may be the account, and a snapshot is outdated
-- where it was read before the account was. A reject may have failed again in a later batch, which then is its batch.
-- Logins of which a later snapshot was loaded are not in `incoming_cursors`.
with latest as (
    select i.provider_account_id, max(i.observed_at) as observed_at
    from incoming as i
    group by i.provider_account_id
),
missing as (
    select
        a.provider_account_id,
        a.account_id,
        l.observed_at,
        case
            when l.observed_at is null then 'the snapshot is empty'
            when (a.observed_at, a.raw_id) > (l.observed_at, %(raw_id)s) then 'they were observed later'
            when
                exists (
                    select 1
                    from etl.rejects as r
                    where
                        r.entity = 'accounts'
                        and r.version = %(version)s
                        and r.provider_account_id = a.provider_account_id
                        and r.raw_id >= %(raw_id)s
                        and r.closed_at is null
                        and coalesce(r.record_id = a.account_id or r.record_id like 'sha256:%%', true)
                )
                then 'a rejected record may be the account'
        end as kept_for
    from incoming_cursors as m
    cross join lateral (
        select k.*
        from core.accounts as k
        where k.provider_account_id = m.provider_account_id
        offset 0
    ) as a
    left join latest as l on l.provider_account_id = a.provider_account_id
    where
        a.closed_on is null
        and not exists (
            select 1
            from incoming as i
            where i.provider_account_id = a.provider_account_id and i.account_id = a.account_id
        )
),
closed as (
    update core.accounts as target set
        closed_on = (m.observed_at at time zone 'utc')::date,
        observed_at = m.observed_at,
        raw_id = %(raw_id)s
    from missing as m
    where
        m.kept_for is null
        and target.provider_account_id = m.provider_account_id
        and target.account_id = m.account_id
)
select m.provider_account_id, m.account_id, m.kept_for
from missing as m
order by m.provider_account_id, m.account_id;

-- name: count_open
-- Accounts that are not closed.
select count(*) as accounts
from core.accounts as a
where a.closed_on is null;

-- name: mark_outdated
-- Mark the rows whose newer record was rejected; the next record that is loaded clears the mark.
with rejected as (
    {rejected}
)
update core.accounts as target set outdated_at = r.observed_at
from rejected as r
where
    target.provider_account_id = r.provider_account_id
    and target.account_id = r.record_id
    and (r.observed_at, %(raw_id)s) >= (target.observed_at, target.raw_id)
    and (target.outdated_at is null or target.outdated_at < r.observed_at);
