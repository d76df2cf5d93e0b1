-- Circuit breakers of channels and destinations; runs that are held by them, or fail.

create table notify.breakers (
    notice_id smallint not null references notify.notices,
    channel notify.channel not null,
    destination text not null,
    state text not null default 'closed' check (state in ('closed', 'open', 'half_open')),
    attempts double precision not null default 0,
    refusals double precision not null default 0,
    streak double precision not null default 0,
    trips smallint not null default 0,
    counted_at timestamptz not null default now(),
    opened_at timestamptz,
    probe_at timestamptz,
    error_class text not null default '',
    reason text not null default '',
    primary key (notice_id, channel, destination)
);
comment on table notify.breakers is 'Destinations that refuse messages of a notice; those without recent refusals have no row. All senders share them.';
comment on column notify.breakers.destination is 'A mail domain or the host of a push service; empty for the channel as a whole.';
comment on column notify.breakers.attempts is 'Messages of the recent past, as of counted_at; older ones count less.';
comment on column notify.breakers.streak is 'Refusals since the last message that was accepted.';
comment on column notify.breakers.trips is 'How often it has opened without a time of health in between.';
comment on column notify.breakers.probe_at is 'When the next few messages try whether it accepts again.';
comment on column notify.breakers.reason is 'What the server said, without the address.';

alter table notify.runs
    add column is_refused boolean not null default false,
    add column max_failed_share double precision not null default 1,
    add column dag_run text not null default '',
    add column refusals jsonb not null default '[]';
comment on column notify.runs.is_refused is 'Whether it is held since its channels refuse everything: it sends probes, and resumes by itself.';
comment on column notify.runs.max_failed_share is 'It fails if more than this share of its messages was not delivered.';
comment on column notify.runs.dag_run is 'Run of the Dag that sends it, or sent it last.';
comment on column notify.runs.refusals is 'The most frequent refusals of a run that failed: by whom, with what words, how often.';

-- The table has a few rows for each run.
-- squawk-ignore ban-drop-constraint
alter table etl.promises drop constraint promises_kind_check;
-- squawk-ignore constraint-missing-not-valid
alter table etl.promises add constraint promises_kind_check
check (kind in ('forecast', 'missed', 'recovered', 'failed', 'logins_stopped', 'held', 'resumed'));
