-- How many recipients a chunk has had in fact, so that the totals of a run can be checked to the last message.

alter table notify.chunks
    add column walked bigint,
    add column claimed_until bigint;
comment on column notify.chunks.walked is
'Recipients of the pages that ended; null for a chunk that was planned before they were counted. With `recipients` it tells who left or joined.';
comment on column notify.chunks.claimed_until is
'The last position of the pages that were claimed. Up to it, rows from claimed_from on may be of a page that was interrupted, and are walked again.';

update notify.chunks set claimed_until = stop
where finished_at is null;
