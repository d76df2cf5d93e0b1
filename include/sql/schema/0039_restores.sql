-- After a restore from a backup, the ledger does not know what was sent since the backup.

create table notify.restores (
    restored_at timestamptz primary key default now(),
    last_delivery_id bigint not null,
    confirmed_at timestamptz,
    trusted_since timestamptz
);
comment on table notify.restores is 'Restores of this database from a backup. Until a person has confirmed the last one, nothing is planned or sent.';
comment on column notify.restores.last_delivery_id is 'The last delivery in the backup. Later ids were given to messages that are lost from the ledger, and are not given again.';
comment on column notify.restores.trusted_since is 'What was due before is taken as sent, unless it is in the ledger.';
