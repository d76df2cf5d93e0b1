-- name: acquire_until_commit
-- Waits for whoever has it; Postgres gives it back when the transaction ends, however it ends.
select pg_advisory_xact_lock(hashtextextended('sluice.' || %(key)s, 0));

-- name: try_acquire
-- Never waits. Postgres gives it back when the connection ends, however it ends.
select pg_try_advisory_lock(hashtextextended('sluice.' || %(key)s, 0)) as is_acquired;

-- name: release
-- False if this connection did not have it.
select pg_advisory_unlock(hashtextextended('sluice.' || %(key)s, 0)) as was_held;
