-- Responses that say themselves what they lack, the windows of all lists of recent days, since one may be loaded late, and
-- refresh tokens that were lost.

create table etl.gaps (
    chunk_id bigint not null references etl.chunks,
    attempt int not null,
    provider_account_id bigint not null references core.provider_accounts,
    code text not null,
    part_column text not null,
    part text not null,
    detail text not null,
    found_at timestamptz not null default now()
);
-- The table is new.
-- squawk-ignore require-concurrent-index-creation
create index on etl.gaps (chunk_id, attempt, provider_account_id);
-- squawk-ignore require-concurrent-index-creation
create index on etl.gaps (provider_account_id, found_at);
comment on table etl.gaps is 'Records that a response lacks, as it says itself: of a login, or of a part of it such as one of its banks. Rows of this part do not end.';
comment on column etl.gaps.part_column is 'Column of the rows that are concerned; empty for all rows of the login.';
comment on column etl.gaps.part is 'Value of this column.';
comment on column etl.gaps.detail is 'What the provider says about it.';

-- The table has one row for each login, and no other table refers to it.
alter table etl.recent_reads
    -- squawk-ignore ban-drop-constraint
    drop constraint recent_reads_pkey,
    -- squawk-ignore constraint-missing-not-valid, adding-serial-primary-key-field
    add constraint recent_reads_pkey primary key (provider_account_id, source, raw_id),
    add column is_complete boolean not null default true;
comment on table etl.recent_reads is 'Lists of recent days of each login that were loaded; the next one begins before the end of the latest, and one that is loaded late has no say about the days of later ones.';
comment on column etl.recent_reads.is_complete is 'Whether no response said that it lacked records. The next list begins before the end of the latest that is complete.';

alter table etl.provider_tokens
    add column lost_at timestamptz,
    add column lost_version int;
comment on column etl.provider_tokens.lost_at is 'When it was found that a renewal had begun whose response was never saved: the provider may have replaced the refresh token. Null since the last renewal that was saved.';
comment on column etl.provider_tokens.lost_version is 'Version of the login''s token then; one that was linked again has another.';
