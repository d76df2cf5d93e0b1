-- name: acquire_until_commit
-- Waits for the holder of the lock; Postgres releases it when the transaction ends for any reason.
select pg_advisory_xact_lock(hashtextextended('sluice.' || %(key)s, 0));

-- name: try_acquire
-- Never waits; Postgres releases the lock when the connection ends for any reason.
select pg_try_advisory_lock(hashtextextended('sluice.' || %(key)s, 0)) as is_acquired;

-- name: release
-- False if this connection did not hold the lock.
select pg_advisory_unlock(hashtextextended('sluice.' || %(key)s, 0)) as was_held;
