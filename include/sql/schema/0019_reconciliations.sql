-- A feed that was read again from its beginning ends the rows that it lacks: as far as there is evidence, and a large
-- share of a login's rows only after a person approved it.

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
create index on etl.reconciliations (provider_account_id) where state = 'pending';
