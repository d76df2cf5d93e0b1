-- name: until_commit
-- Waits for whoever has it; Postgres gives it back when the transaction ends, however it ends.
select pg_advisory_xact_lock(hashtextextended('sluice.' || %(key)s, 0));

-- name: take
-- Never waits. Postgres gives it back when the connection ends, however it ends.
select pg_try_advisory_lock(hashtextextended('sluice.' || %(key)s, 0)) as taken;

-- name: give_back
-- False if this connection did not have it.
select pg_advisory_unlock(hashtextextended('sluice.' || %(key)s, 0)) as had;
