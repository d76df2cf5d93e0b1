-- name: existing_by_key
-- The row of a record, looked up by its key, so that the cost of a batch does not depend on the size of the table:
-- `offset 0` keeps the planner from scanning the table instead.
select k.*
from {table} as k
where {same_key_as_k}
offset 0;

-- name: existing_of_accounts
-- All rows of the batch's accounts, for accounts with about as few rows as the batch has records: looking up each row
-- by its key takes twice as long.
select k.*
from {table} as k
where k.provider_account_id = any(array(select m.provider_account_id from incoming_cursors as m))
offset 0;

-- name: closed_on
-- The day since which the row of a record is closed although the snapshot has it; an entity's own file may know one.
select null::date as closed_on;

-- name: merge
-- Upsert the records of a typed batch that differ from their rows, and count them. The join drops unchanged records
-- first: `on conflict … where` alone would lock each of their rows and log it to the WAL.
-- Ordered by key, so that parallel merges cannot deadlock. The accounts' cursors or the entity are locked, so that no
-- other load writes these rows and `row_exists` stays valid.
-- New rows are inserted without `on conflict`, which would look up each of them again: a quarter of the cost of
-- inserting.
with differing as materialized (
    select
        c.observed_at is not null as row_exists,
        coalesce({is_newer}, false) as superseded,
        {incoming_columns},
        i.observed_at
    from incoming as i
    left join lateral (
        {existing}
    ) as c on {same_key_as_c}{closing}
    where
        not i.removed
        and (
            c.observed_at is null
            or {needs_update}
        )
),
inserted as (
    insert into {table} (
        {columns},
        observed_at,
        raw_id
    )
    select
        {differing_columns},
        d.observed_at,
        %(raw_id)s
    from differing as d
    where not d.row_exists
    order by {differing_key}
),
updated as (
    insert into {table} as target (
        {columns},
        observed_at,
        raw_id
    )
    select
        {differing_columns},
        d.observed_at,
        %(raw_id)s
    from differing as d
    where d.row_exists and not d.superseded
    order by {differing_key}
    on conflict ({key}) do update set
        {assignments}{unless_newer}
)
select
    count(*) filter (where not row_exists) as inserted,
    count(*) filter (where row_exists and not superseded) as updated,
    count(*) filter (where superseded) as superseded
from differing;
