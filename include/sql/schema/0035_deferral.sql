-- Deliveries that cannot be made now wait; runs that go wrong are held or fail.

alter type notify.state add value 'deferred' after 'reopened';

alter table notify.chunks add column deferred bigint not null default 0;
comment on column notify.chunks.deferred is 'Deliveries that wait for a later try; they have not ended.';

-- The table has a row for each run.
alter table notify.runs
    -- squawk-ignore ban-drop-constraint
    drop constraint runs_state_check,
    -- squawk-ignore constraint-missing-not-valid
    add constraint runs_state_check check (state in ('running', 'paused', 'held', 'cancelled', 'done', 'failed')),
    add column reason text not null default '';
comment on column notify.runs.reason is 'Why the run is held or has failed.';
