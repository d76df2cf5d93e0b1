-- name: forget
-- A transaction that replays several batches remembers for one after the other.
drop table if exists pg_temp.before_replay, pg_temp.rewritten;

-- name: forget_rewritten
-- Each batch is brought up to date by itself.
delete from rewritten;

-- name: accounts_rewritten
-- Later batches without any of these accounts have nothing to say.
select distinct b.provider_account_id
from rewritten as b;
