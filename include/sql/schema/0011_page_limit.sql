-- A sender that outgrew its memory, or was killed, comes back with smaller pages.

alter table notify.chunks add column page_limit smallint not null default 1000 check (page_limit > 0);
comment on column notify.chunks.page_limit is 'Most recipients in a page; halved whenever a sender was killed in the middle of one, or ran out of memory.';
