-- name: find
-- The counts of a batch that this version of the entity has loaded.
select l.read, l.inserted, l.updated, l.unchanged, l.removed, l.superseded, l.stale, l.rejected, l.quarantined
from etl.loads as l
where l.raw_id = %(raw_id)s and l.entity = %(entity)s and l.version = %(version)s;

-- name: was_loaded
-- Whether any version of the entity has loaded the batch.
select exists (
    select 1
    from etl.loads as l
    where l.raw_id = %(raw_id)s and l.entity = %(entity)s
);

-- name: had_loaded
-- Whether any version of the entity had loaded a batch before a run was planned.
select exists (
    select 1
    from etl.loads as l
    where
        l.entity = %(entity)s
        and l.loaded_at < (
            select coalesce(min(c.planned_at), 'infinity')
            from etl.chunks as c
            where c.entity = %(entity)s and c.run_id = %(run_id)s
        )
);

-- name: find_later
-- Loaded batches that were sealed after a batch; its records may be outdated by theirs. Only those that may hold one of the
-- logins: a batch's own logins are known, but for batches of before they were stored, whose chunk must contain one.
select b.raw_id
from etl.raw_batches as b
inner join etl.chunks as c using (chunk_id)
where
    b.raw_id > %(raw_id)s
    and exists (
        select 1
        from etl.loads as l
        where l.raw_id = b.raw_id and l.entity = %(entity)s
    )
    and (
        %(provider_account_ids)s::bigint[] is null
        or exists (
            select 1
            from unnest(%(provider_account_ids)s::bigint[]) as a (login)
            where
                case
                    when b.provider_account_ids is null then a.login >= c.start and a.login < c.stop
                    else a.login = any(b.provider_account_ids)
                end
        )
    )
order by b.raw_id;

-- name: record
-- Record the results of all records of a batch.
insert into etl.loads (
    raw_id,
    entity,
    version,
    read,
    inserted,
    updated,
    unchanged,
    removed,
    superseded,
    stale,
    rejected,
    quarantined
)
values (
    %(raw_id)s,
    %(entity)s,
    %(version)s,
    %(read)s,
    %(inserted)s,
    %(updated)s,
    %(unchanged)s,
    %(removed)s,
    %(superseded)s,
    %(stale)s,
    %(rejected)s,
    %(quarantined)s
);

-- name: record_replay
-- Record the results of all records of a batch that was replayed.
insert into etl.replays (
    raw_id,
    entity,
    version,
    read,
    inserted,
    updated,
    unchanged,
    removed,
    superseded,
    stale,
    rejected,
    quarantined
)
values (
    %(raw_id)s,
    %(entity)s,
    %(version)s,
    %(read)s,
    %(inserted)s,
    %(updated)s,
    %(unchanged)s,
    %(removed)s,
    %(superseded)s,
    %(stale)s,
    %(rejected)s,
    %(quarantined)s
);

-- name: accept
-- A quarantined login of a loaded batch was loaded after all: its records move from `quarantined` to what became of them.
-- They are part of the counts of the version that loads them now, or of the last version that quarantined them.
update etl.loads as l set
    quarantined = l.quarantined - %(read)s,
    inserted = l.inserted + %(inserted)s,
    updated = l.updated + %(updated)s,
    unchanged = l.unchanged + %(unchanged)s,
    removed = l.removed + %(removed)s,
    superseded = l.superseded + %(superseded)s,
    stale = l.stale + %(stale)s,
    rejected = l.rejected + %(rejected)s
where
    l.raw_id = %(raw_id)s
    and l.entity = %(entity)s
    and l.version = (
        select k.version
        from etl.loads as k
        where k.raw_id = %(raw_id)s and k.entity = %(entity)s and k.quarantined >= %(read)s
        order by k.version = %(version)s desc, k.version desc
        limit 1
    );
