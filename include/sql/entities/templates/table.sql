-- name: create
-- The columns that are declared, and those that the merge keeps.
create table {table} (
    {columns},
    primary key ({key})
){partitioning};

-- name: create_partitions
-- Hash partitions by provider account: the merge of a chunk touches few of them, and each stays small enough to vacuum.
do $$
begin
    for remainder in 0..15 loop
        execute format(
            'create table core.%I partition of {table} for values with (modulus 16, remainder %s)',
            {name} || to_char(remainder, 'FM_00'), remainder
        );
    end loop;
end
$$;

-- name: check_references
-- A foreign key looks up every inserted row, which takes half of the insert time; these triggers look up once per
-- statement.
create trigger refers_when_inserted after insert on {table}
referencing new table as added
for each statement execute function core.check_references(
    'provider_account_id', 'core.provider_accounts', 'raw_id', 'etl.raw_batches'
);
create trigger refers_when_updated after update on {table}
referencing new table as added
for each statement execute function core.check_references(
    'provider_account_id', 'core.provider_accounts', 'raw_id', 'etl.raw_batches'
);
create trigger {keeps_rows} after delete on core.provider_accounts
for each row execute function core.prevent_referenced_delete({table_name}, 'provider_account_id');
create trigger {keeps_all_rows} after truncate on core.provider_accounts
for each statement execute function core.prevent_referenced_delete({table_name});
create trigger {keeps_rows} after delete on etl.raw_batches
for each row execute function core.prevent_referenced_delete({table_name}, 'raw_id');
create trigger {keeps_all_rows} after truncate on etl.raw_batches
for each statement execute function core.prevent_referenced_delete({table_name});

-- name: add_column
-- It may be null, so that no row is rewritten.
alter table {table} add column {column};

-- name: widen_column
-- A type that holds every value of the one before.
alter table {table} alter column {column} type {type};

-- name: allow_null
-- A column that is no longer required.
alter table {table} alter column {column} drop not null;

-- name: forbid_null
-- A column that became required, and is null in no row.
alter table {table} alter column {column} set not null;

-- name: describe_table
-- What `psql` shows of it.
comment on table {table} is {comment};

-- name: describe_column
-- What `psql` shows of it.
comment on column {table}.{column} is {comment};
