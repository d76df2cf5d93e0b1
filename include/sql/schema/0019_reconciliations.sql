-- A feed that was read again from its beginning ends the rows that it lacks: as far as there is evidence, and a large
-- share of a login's rows only after a person approved it. A row that should end, but whose end a rejected record leaves
-- in doubt, is held until the record is loaded.

create table etl.reconciliations (
    raw_id bigint not null references etl.raw_batches,
    entity text not null,
    provider_account_id bigint not null references core.provider_accounts,
    state text not null check (state in ('applied', 'pending', 'approved', 'revoked')),
    live int not null,
    absent int not null,
    skipped text,
    reconciled_at timestamptz not null default now(),
    decided_at timestamptz,
    primary key (raw_id, entity, provider_account_id)
);
comment on table etl.reconciliations is 'What became of the rows that a full read of a feed did not contain any more.';
comment on column etl.reconciliations.state is '`applied`: the absent rows were ended. `pending`: they were not, since they are too many; a person decides. `approved`: a person had them ended. `revoked`: a person had them brought back, or kept.';
comment on column etl.reconciliations.live is 'Live rows of the login before the reconciliation.';
comment on column etl.reconciliations.absent is 'Rows that the full read should have contained, and did not.';
comment on column etl.reconciliations.skipped is 'What was not reconciled, and why, such as accounts that the read does not mention; null if nothing.';
create index on etl.reconciliations (provider_account_id, entity, raw_id);

create table etl.ended_rows (
    raw_id bigint not null,
    entity text not null,
    provider_account_id bigint not null,
    record_id text not null,
    last_observed_at timestamptz not null,
    last_raw_id bigint not null references etl.raw_batches,
    primary key (raw_id, entity, provider_account_id, record_id),
    foreign key (raw_id, entity, provider_account_id) references etl.reconciliations
);
comment on table etl.ended_rows is 'Rows that a reconciliation ended, so that they can be brought back as they were.';
comment on column etl.ended_rows.record_id is 'The row''s key without the login; several columns are joined by U+001F.';
comment on column etl.ended_rows.last_observed_at is '`observed_at` of the row before it was ended.';
comment on column etl.ended_rows.last_raw_id is '`raw_id` of the row before it was ended.';
create index on etl.ended_rows (provider_account_id, entity, record_id);

alter table etl.rejects add column held_at timestamptz;
comment on column etl.rejects.held_at is 'When the end of the row that the record replaces was observed; the row lives until the record is loaded, or is removed too.';
create index rejects_replacing on etl.rejects (entity, provider_account_id, replaces)
where closed_at is null and replaces is not null;
create index rejects_holding on etl.rejects (provider_account_id) where held_at is not null;

-- Pending rows that a window brought are no longer withdrawn two weeks later; those that are due end now.
do $$
begin
    if to_regclass('core.transactions') is null then
        return;
    end if;
    update core.transactions as t set removed_at = now(), removed_for = 'withdrawn', observed_at = now()
    from etl.raw_batches as r
    where
        r.raw_id = t.raw_id
        and r.source = 'transactions_get'
        and t.pending
        and t.removed_at is null
        and t.dated_on < current_date - 14;
    drop index if exists core.transactions_still_pending;
end
$$;
