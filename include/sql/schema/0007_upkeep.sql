-- What is kept too long is removed. A batch whose object was purged keeps its row: core rows and loads name it.

alter table etl.raw_batches add column purged_at timestamptz;
comment on column etl.raw_batches.purged_at is 'When its object was given up, past its retention; null while it is kept.';
create index on etl.raw_batches (content_hash);
