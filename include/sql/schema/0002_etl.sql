-- What remembers: how far each feed was read, what each run planned, what was sealed, loaded and rejected.

create schema etl;

create table etl.cursors (
    provider_account_id bigint not null references core.provider_accounts,
    feed text not null,
    value text not null default '',
    raw_id bigint,
    moved_at timestamptz,
    primary key (provider_account_id, feed)
);
comment on table etl.cursors is 'How far each feed was loaded; moves in the transaction that loads its rows. Opaque, never compared.';

create table etl.chunks (
    chunk_id bigint generated always as identity primary key,
    entity text not null,
    run_id text not null,
    ordinal int not null,
    start bigint not null,
    stop bigint not null,
    page_size int not null,
    attempts int not null default 0,
    outcome jsonb,
    planned_at timestamptz not null default now(),
    withdrawn_at timestamptz,
    unique (entity, run_id, ordinal),
    check (stop > start)
);
comment on column etl.chunks.start is 'First provider_account_id of the chunk.';
comment on column etl.chunks.stop is 'One above the last provider_account_id of the chunk.';
comment on column etl.chunks.outcome is 'Provider accounts by what came of them in the last download attempt; null while one is under way.';
comment on column etl.chunks.withdrawn_at is 'Set when the run was planned again with fewer chunks.';

create table etl.raw_batches (
    raw_id bigint generated always as identity primary key,
    feed text not null,
    chunk_id bigint not null references etl.chunks,
    attempt int not null,
    content_hash text not null,
    path text not null,
    accounts int not null,
    pages int not null,
    bytes bigint not null,
    sealed_at timestamptz not null default now(),
    unique (chunk_id, attempt)
);
comment on table etl.raw_batches is 'Pages as the provider sent them, sealed once, never changed.';
comment on column etl.raw_batches.content_hash is 'SHA-256 of the batch before compression, in hexadecimal.';
comment on column etl.raw_batches.path is 'Place of the object below the raw root.';
comment on column etl.raw_batches.bytes is 'Size before compression.';

create table etl.loads (
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
    loaded_at timestamptz not null default now(),
    primary key (raw_id, entity, version),
    constraint counted check (least(inserted, updated, unchanged, removed, superseded, stale, rejected) >= 0),
    constraint conservation check (read = inserted + updated + unchanged + removed + superseded + stale + rejected)
);
comment on table etl.loads is 'What became of every record of a raw batch; no record is ever unaccounted for.';

create table etl.rejects (
    reject_id bigint generated always as identity primary key,
    raw_id bigint not null references etl.raw_batches,
    entity text not null,
    version int not null,
    provider_account_id bigint not null,
    line int not null,
    path text not null,
    rule text not null,
    reason text not null,
    rejected_at timestamptz not null default now()
);
comment on table etl.rejects is 'Records that could not be typed or broke a rule; the record itself stays in its raw batch.';
comment on column etl.rejects.line is 'Ordinal of the page in its raw batch, from 0.';
comment on column etl.rejects.path is 'Place of the record or field in the page, such as added[3].amount.';
create index on etl.rejects (raw_id, entity);
