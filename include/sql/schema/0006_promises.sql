-- What people were told of runs that are late, and why tasks failed.

create table etl.promises (
    promise_id bigint generated always as identity primary key,
    dag_id text not null,
    run_id text not null,
    kind text not null check (kind in ('forecast', 'missed', 'recovered', 'failed')),
    promised_by timestamptz,
    subject text not null,
    body text not null,
    html text not null,
    claimed_at timestamptz not null default now(),
    attempts int not null default 1,
    sent_at timestamptz,
    error text,
    withdrawn_at timestamptz,
    unique (dag_id, run_id, kind)
);
comment on table etl.promises is 'Mails about promises of runs; the row goes in before its mail, so that each kind is told at most once a run.';
comment on column etl.promises.claimed_at is 'When the last attempt to send it began.';
comment on column etl.promises.error is 'Why the last attempt failed; null if it succeeded, or if nobody came back from it.';
comment on column etl.promises.withdrawn_at is 'When a later mail of the same run made it out of date, before it could be sent.';
create index on etl.promises (claimed_at) where sent_at is null and withdrawn_at is null;

create table etl.failures (
    dag_id text not null,
    run_id text not null,
    task_id text not null,
    map_index int not null,
    attempt int not null,
    error_type text not null,
    message text not null,
    failed_at timestamptz not null default now(),
    primary key (dag_id, run_id, task_id, map_index)
);
comment on table etl.failures is 'The last failure of each task that failed, as its mail tells it: first lines, without secrets and without values of records.';
create index on etl.failures (failed_at);
