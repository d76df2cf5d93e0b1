-- name: drop_tables
-- A transaction that replays several batches remembers for one after the other.
drop table if exists pg_temp.before_image, pg_temp.changed_keys;

-- name: clear_changed_keys
-- Each batch is brought up to date by itself.
delete from changed_keys;

-- name: changed_accounts
-- Later batches without any of these accounts have nothing to say.
select distinct b.provider_account_id
from changed_keys as b;
