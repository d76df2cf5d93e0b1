-- A feed that can no longer be read on from its cursor is read again from its beginning.

alter table etl.cursors add column reread boolean not null default false;
comment on column etl.cursors.reread is 'Whether the next download must read the feed from its beginning, in place of the changes since the cursor.';
