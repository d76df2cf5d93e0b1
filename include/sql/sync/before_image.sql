-- name: drop_tables
-- A transaction that replays several batches needs new tables for each of them.
drop table if exists pg_temp.before_image, pg_temp.changed_keys;

-- name: clear_changed_keys
-- Each batch has its own changed keys.
delete from changed_keys;

-- name: changed_accounts
-- Later batches without any of these accounts need not be merged again.
select distinct k.provider_account_id
from changed_keys as k;
