-- How many recipients a chunk has had in fact, so that the totals of a run can be checked to the last message.

alter table notify.chunks add column walked bigint;
comment on column notify.chunks.walked is
'Recipients of the pages that ended; null for a chunk that was planned before they were counted. With `recipients` it tells who left or joined.';
