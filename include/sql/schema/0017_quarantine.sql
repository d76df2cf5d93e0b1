-- Bad records hold back their own login only, and a bad field only itself. A record that fails again and again is one
-- reject, which ends when a later record of the same id is loaded.

create table etl.quarantines (
    provider_account_id bigint not null references core.provider_accounts,
    entity text not null,
    source text not null,
    raw_id bigint references etl.raw_batches,
    read int not null,
    rejected int not null,
    path text not null,
    rule text not null,
    reason text not null,
    quarantined_at timestamptz not null default now(),
    last_failed_at timestamptz not null default now(),
    failures int not null default 1,
    primary key (provider_account_id, entity, source)
);
comment on table etl.quarantines is 'Logins whose latest batch of an entity was not loaded, since too many of its records were rejected or its pages killed the process; their cursors stay.';
comment on column etl.quarantines.source is 'Source of that batch: a window of past days is quarantined by itself, since it says nothing about what the feed brought.';
comment on column etl.quarantines.raw_id is 'The latest batch that was not loaded; null if its pages killed the download.';
comment on column etl.quarantines.path is 'Most frequent path of a rejected field, without list positions, such as added[].amount; empty for one that killed the process.';
comment on column etl.quarantines.rule is 'Rule that most records broke at that path; `killed` for one that killed the process, of which no record was typed.';
comment on column etl.quarantines.reason is 'What happened, in words.';
create index on etl.quarantines (raw_id);

alter table etl.loads add column quarantined int not null default 0;
alter table etl.loads drop constraint counted;
alter table etl.loads drop constraint conservation;
alter table etl.loads add constraint counted
check (least(inserted, updated, unchanged, removed, superseded, stale, rejected, quarantined) >= 0);
alter table etl.loads add constraint conservation
check (read = inserted + updated + unchanged + removed + superseded + stale + rejected + quarantined);
alter table etl.replays add column quarantined int not null default 0;
alter table etl.replays drop constraint counted;
alter table etl.replays drop constraint conservation;
alter table etl.replays add constraint counted
check (least(inserted, updated, unchanged, removed, superseded, stale, rejected, quarantined) >= 0);
alter table etl.replays add constraint conservation
check (read = inserted + updated + unchanged + removed + superseded + stale + rejected + quarantined);

alter table etl.rejects
    add column record_id text,
    add column replaces text,
    add column observed_at timestamptz,
    add column first_rejected_at timestamptz not null default now(),
    add column failures int not null default 1,
    add column closed_at timestamptz,
    add column closed_by bigint;
comment on column etl.rejects.record_id is 'The record''s key as sent, without the login; a digest of the record where it has none. Null for rejects of before there was such an id.';
comment on column etl.rejects.replaces is 'Id of the pending transaction that the record says it replaces.';
comment on column etl.rejects.observed_at is 'When the record was observed.';
comment on column etl.rejects.failures is 'How often the record was rejected; raw_id, line, path, rule and reason are those of the last time.';
comment on column etl.rejects.closed_at is 'When a later record of the same id was loaded, or the batch was typed again without rejecting it; null while the reject is open.';
comment on column etl.rejects.closed_by is 'The raw batch whose load closed it.';
create unique index rejects_open on etl.rejects (entity, provider_account_id, record_id) where closed_at is null;
create index rejects_closed on etl.rejects (entity, provider_account_id, record_id) where closed_at is not null;

create table etl.field_warnings (
    raw_id bigint not null references etl.raw_batches,
    entity text not null,
    version int not null,
    provider_account_id bigint not null,
    path text not null,
    rule text not null,
    records int not null,
    line int not null,
    found text not null,
    warned_at timestamptz not null default now(),
    primary key (raw_id, entity, version, provider_account_id, path, rule)
);
create index on etl.field_warnings (entity, warned_at);
comment on table etl.field_warnings is 'Optional fields that were bad and are null in the row, or amounts that were rounded: counted by field and rule.';
comment on column etl.field_warnings.path is 'Path of the field without list positions, such as added[].datetime.';
comment on column etl.field_warnings.line is 'Ordinal of the page of the first such record in its raw batch, from 0.';
comment on column etl.field_warnings.found is 'What the first such record has in this field.';
