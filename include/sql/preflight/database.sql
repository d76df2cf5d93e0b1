-- name: may_create_temporary_tables
-- A standby, a read-only session, and a role without the privilege may not.
select
    not pg_is_in_recovery()
    and current_setting('transaction_read_only') = 'off'
    and has_database_privilege(current_database(), 'temporary');

-- name: has_table
-- Every statement of an entity without a table would fail for this one reason.
select to_regclass(%(table)s) is not null;
