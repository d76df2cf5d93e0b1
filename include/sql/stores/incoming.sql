-- name: forget
-- A transaction that merges several batches has one after the other in hand.
drop table if exists pg_temp.incoming;
