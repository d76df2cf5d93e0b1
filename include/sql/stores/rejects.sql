-- name: clear
-- A batch that is typed again by the same version gives its rejects anew.
delete from etl.rejects
where raw_id = %(raw_id)s and entity = %(entity)s and version = %(version)s;

-- name: copy
-- Rejects of one batch; there may be as many as records.
copy etl.rejects (raw_id, entity, version, provider_account_id, line, path, rule, reason) from stdin;

-- name: count
-- Rejected records of one batch.
select count(*)::int as rejected
from etl.rejects as r
where r.raw_id = %(raw_id)s and r.entity = %(entity)s and r.version = %(version)s;
