-- A raw batch can be typed and merged again, and then counts as it did when it was first loaded.

create table etl.clock_corrections (
    raw_id bigint not null references etl.raw_batches,
    provider_account_id bigint not null references core.provider_accounts,
    observed_at timestamptz not null,
    primary key (raw_id, provider_account_id)
);
comment on table etl.clock_corrections is 'Accounts whose records a load counted as later than their pages say, since an earlier load of the feed had been observed later.';

create table etl.replays (
    replay_id bigint generated always as identity primary key,
    raw_id bigint not null references etl.raw_batches,
    entity text not null,
    version int not null,
    read int not null,
    inserted int not null,
    updated int not null,
    unchanged int not null,
    removed int not null,
    superseded int not null,
    stale int not null,
    rejected int not null,
    replayed_at timestamptz not null default now(),
    constraint counted check (least(inserted, updated, unchanged, removed, superseded, stale, rejected) >= 0),
    constraint conservation check (read = inserted + updated + unchanged + removed + superseded + stale + rejected)
);
comment on table etl.replays is 'What became of every record of a raw batch when it was typed and merged again; the first time is in etl.loads.';
create index on etl.replays (raw_id, entity);
create index on etl.rejects (entity, version, raw_id);

alter table etl.cursors add column told_at timestamptz;
comment on column etl.cursors.told_at is 'Latest observation that the feed itself brought: a window of before then knows nothing newer about a row.';
