-- name: find
-- What earlier attempts have read of the feeds of some accounts.
select
    u.provider_account_id,
    u.chunk_id,
    u.attempt,
    u.generation,
    u.pages,
    u.bytes,
    u.digest,
    u.cursor_to,
    u.is_full_read,
    u.first_on,
    u.last_on
from etl.unfinished_downloads as u
where u.provider_account_id = any(%(provider_account_ids)s) and u.feed = %(feed)s;

-- name: save
-- Attempts are ordered by chunk and number. A later one takes the row over; an earlier one that still runs, although
-- its process was believed dead, changes nothing. Only new pages make the row younger: what nobody can continue grows old.
insert into etl.unfinished_downloads as u (
    provider_account_id,
    feed,
    chunk_id,
    attempt,
    generation,
    pages,
    bytes,
    digest,
    cursor_to,
    is_full_read,
    first_on,
    last_on
)
values (
    %(provider_account_id)s,
    %(feed)s,
    %(chunk_id)s,
    %(attempt)s,
    %(generation)s,
    %(pages)s,
    %(bytes)s,
    %(digest)s,
    %(cursor_to)s,
    %(is_full_read)s,
    %(first_on)s,
    %(last_on)s
)
on conflict (provider_account_id, feed) do update set
    chunk_id = excluded.chunk_id,
    attempt = excluded.attempt,
    generation = excluded.generation,
    pages = excluded.pages,
    bytes = excluded.bytes,
    digest = excluded.digest,
    cursor_to = excluded.cursor_to,
    is_full_read = excluded.is_full_read,
    first_on = excluded.first_on,
    last_on = excluded.last_on,
    saved_at = case when excluded.pages > u.pages then now() else u.saved_at end
where (u.chunk_id, u.attempt) <= (excluded.chunk_id, excluded.attempt);

-- name: discard
-- Forget pages, unless another attempt has taken them over.
delete from etl.unfinished_downloads as u
where
    u.provider_account_id = any(%(provider_account_ids)s)
    and u.feed = %(feed)s
    and u.chunk_id = %(chunk_id)s
    and u.attempt = %(attempt)s;

-- name: kept_folders
-- Pages below the landing folder of a chunk that stay when its attempts are removed.
select u.attempt, u.provider_account_id
from etl.unfinished_downloads as u
where u.chunk_id = %(chunk_id)s;

-- name: all_kept_folders
-- Pages that a download may still continue from: its cursor has not moved since, and it was tried not too long ago.
select u.chunk_id, u.attempt, u.provider_account_id
from etl.unfinished_downloads as u
left join etl.cursors as c using (provider_account_id, feed)
where u.saved_at >= %(since)s and u.generation = coalesce(c.generation, 0);

-- name: remove_unusable
-- The opposite of `all_kept_folders`.
delete from etl.unfinished_downloads as u
where
    u.saved_at < %(since)s
    or u.generation <> coalesce(
        (
            select c.generation
            from etl.cursors as c
            where c.provider_account_id = u.provider_account_id and c.feed = u.feed
        ),
        0
    );
