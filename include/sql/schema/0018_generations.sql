-- The order of loads and the times of observation depend on no worker's clock, and on no value that may return.

alter table etl.cursors add column generation bigint not null default 0;
comment on column etl.cursors.generation is 'Grows with each load of the feed, so that a batch which was downloaded before the last load is recognised, whatever the value.';
alter table etl.chunks add column opened_at timestamptz;
comment on column etl.chunks.opened_at is 'When the latest download attempt began, by the clock of the warehouse.';
alter table etl.raw_batches
    add column opened_at timestamptz,
    add column provider_account_ids bigint[];
create index on etl.raw_batches (source, sealed_at);
comment on column etl.raw_batches.opened_at is 'When its download attempt began, by the clock of the warehouse: nothing in it was observed before, nor after sealed_at.';
comment on column etl.raw_batches.provider_account_ids is 'The logins whose pages it holds, since a chunk spans more than were asked. Null in batches of before it was stored.';
