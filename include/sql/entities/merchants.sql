-- name: table
-- Merchants are shared by all users, so their key is the provider's own id.
create table if not exists core.merchants (
    entity_id text primary key,
    name text not null,
    type text,
    website text,
    category text,
    named_on date,
    observed_at timestamptz not null,
    raw_id bigint not null references etl.raw_batches
);

comment on table core.merchants is 'Counterparties as last named on a transaction; shared by all users.';
comment on column core.merchants.entity_id is 'The provider''s id, which stays when the name changes.';
comment on column core.merchants.category is 'Category of the transaction that last named it.';
comment on column core.merchants.named_on is 'Date of the transaction that last named it.';
comment on column core.merchants.raw_id is 'The raw batch that holds the transaction as sent.';

-- name: merge
-- Upsert the records of a typed batch that differ from their rows and are newer, and count them. The newest is the one on
-- the transaction with the latest date, then the one that was observed last, whatever the order of loads. A date after the
-- day of its observation counts as that day, so that no bank fixes the name of a merchant by a date in the future.
-- The join drops unchanged records first: `on conflict … where` alone would lock each of their rows and log it to the WAL.
-- Ordered by key, so that parallel merges cannot deadlock. A lock excludes other loads of this entity, so that
-- `row_exists` stays valid.
-- Each row is looked up by its key, so that the cost of a batch does not depend on the size of the table: `offset 0`
-- keeps the planner from scanning the table instead.
with differing as materialized (
    select
        i.entity_id,
        i.name,
        i.type,
        i.website,
        i.category,
        i.named_on,
        i.observed_at,
        c.observed_at is not null as row_exists,
        coalesce(
            c.raw_id <> %(raw_id)s
            and (
                least(coalesce(c.named_on, '-infinity'), (c.observed_at at time zone 'utc')::date),
                c.observed_at,
                c.raw_id
            ) > (
                least(coalesce(i.named_on, '-infinity'), (i.observed_at at time zone 'utc')::date),
                i.observed_at,
                %(raw_id)s
            ),
            false
        ) as superseded
    from incoming as i
    left join lateral (
        select k.*
        from core.merchants as k
        where k.entity_id = i.entity_id
        offset 0
    ) as c on true
    where
        c.observed_at is null
        or (
            i.name,
            i.type,
            i.website,
            i.category,
            i.named_on
        ) is distinct from (
            c.name,
            c.type,
            c.website,
            c.category,
            c.named_on
        )
),
merged as (
    insert into core.merchants as target (
        entity_id,
        name,
        type,
        website,
        category,
        named_on,
        observed_at,
        raw_id
    )
    select
        d.entity_id,
        d.name,
        d.type,
        d.website,
        d.category,
        d.named_on,
        d.observed_at,
        %(raw_id)s
    from differing as d
    where not d.superseded
    order by d.entity_id
    on conflict (entity_id) do update set
        name = excluded.name,
        type = excluded.type,
        website = excluded.website,
        category = excluded.category,
        named_on = excluded.named_on,
        observed_at = excluded.observed_at,
        raw_id = excluded.raw_id
)
select
    count(*) filter (where not row_exists) as inserted,
    count(*) filter (where row_exists and not superseded) as updated,
    count(*) filter (where superseded) as superseded
from differing;
