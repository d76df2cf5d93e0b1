-- A download that a task cannot finish is continued by the next; one that kills its process is narrowed down to a login.

create table etl.unfinished_downloads (
    provider_account_id bigint not null references core.provider_accounts,
    feed text not null,
    chunk_id bigint not null references etl.chunks on delete cascade,
    attempt int not null,
    generation bigint not null,
    pages int not null,
    bytes bigint not null,
    digest text not null,
    cursor_to text not null,
    is_full_read boolean not null,
    saved_at timestamptz not null default now(),
    primary key (provider_account_id, feed)
);
comment on table etl.unfinished_downloads is 'Logins whose feed could not be read to its end yet: the landed pages that the next download continues from.';
comment on column etl.unfinished_downloads.chunk_id is 'With `attempt` and the login, the folder below landing that holds the pages; only the attempt that is named here may change the row.';
comment on column etl.unfinished_downloads.digest is 'SHA-256 of the frames of the pages, in hexadecimal.';
comment on column etl.unfinished_downloads.generation is 'Generation of the cursor that the pages begin at; if it has grown, they are of no use.';

create table etl.interruptions (
    step text not null,
    subject_id bigint not null,
    entity text not null,
    deaths int not null,
    suspect bigint,
    culprits bigint[] not null default '{}',
    updated_at timestamptz not null default now(),
    primary key (step, subject_id, entity)
);
comment on table etl.interruptions is 'Steps that began and did not end: after two deaths of its process a step takes one login at a time, and the one that kills it again is quarantined.';
comment on column etl.interruptions.step is '`download`, whose subject is a chunk, or `transform`, whose subject is a raw batch.';
comment on column etl.interruptions.suspect is 'The login that is being processed, where each is processed by itself.';
comment on column etl.interruptions.culprits is 'Logins that were being processed when the process died; they are left out.';
