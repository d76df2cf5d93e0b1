-- What came of a run of a notice, once it was summed up, and runs whose users were named.

alter table notify.runs add column totals jsonb;
comment on column notify.runs.totals is 'Chunks, and deliveries by what became of them, as its last report found them; `null` before. The chunks say how it is now.';

create table notify.announcements (
    run_id int primary key references notify.runs on delete cascade,
    dedupe_key text not null,
    users bigint [] not null,
    said jsonb not null
);
comment on table notify.announcements is 'The audiences of runs that were announced to users by their ids, in place of what the statements of their notices find.';
comment on column notify.announcements.said is 'What the templates may name, the same for all its users.';
