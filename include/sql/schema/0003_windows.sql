-- Backfills read windows of days beside the feeds; raw batches of one entity are read by others; every account that is
-- left out has its reason.

alter table etl.chunks add column first_day date;
alter table etl.chunks add column last_day date;
alter table etl.chunks add constraint whole_window check ((first_day is null) = (last_day is null) and first_day <= last_day);
comment on column etl.chunks.start is 'First id of the chunk: of a provider account, or of a raw batch where the entity is read from those of another.';
comment on column etl.chunks.stop is 'One above the last id of the chunk.';
comment on column etl.chunks.first_day is 'First day of a backfill''s window; null where the feed itself is read.';
comment on column etl.chunks.last_day is 'Last day of the window.';

alter table etl.raw_batches rename column feed to source;
comment on column etl.raw_batches.source is 'The provider''s feed, snapshot or window that the pages come from.';
create index on etl.raw_batches (source, raw_id);

alter table if exists core.transactions alter column currency drop not null;
alter table if exists core.transactions add column unofficial_currency text;
alter table if exists core.transactions add column removed_for text;

create table etl.left_out (
    chunk_id bigint not null references etl.chunks,
    attempt int not null,
    provider_account_id bigint not null references core.provider_accounts,
    outcome text not null,
    reason text not null,
    left_out_at timestamptz not null default now(),
    primary key (chunk_id, attempt, provider_account_id)
);
comment on table etl.left_out is 'Provider accounts that a download could not read, with what was found instead; their cursors stay.';
create index on etl.left_out (provider_account_id, left_out_at);

alter table etl.cursors add column observed_at timestamptz;
comment on column etl.cursors.observed_at is 'Latest observation that was loaded; later loads never count as older, whatever their worker''s clock says.';
