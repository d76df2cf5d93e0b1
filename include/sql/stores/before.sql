-- name: forget
-- A transaction that replays several batches remembers for one after the other.
drop table if exists pg_temp.before_replay;
