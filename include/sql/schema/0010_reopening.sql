-- Deliveries that a person lets be tried once more, why deliveries failed, and how fast a run goes.

alter type notify.state add value 'reopened' after 'claimed';

alter table notify.chunks
    add column reopened bigint not null default 0,
    add column dropped bigint not null default 0,
    add column walked_to bigint,
    add column reopened_at timestamptz,
    add column first_id bigint,
    add column last_id bigint,
    add column page_ends timestamptz[] not null default '{}',
    add column page_sizes int[] not null default '{}';
comment on column notify.chunks.reopened is 'Deliveries that the next walk tries once more; they were `failed` or `unknown` before.';
comment on column notify.chunks.dropped is 'Of `unknown`, those that a person gave up.';
comment on column notify.chunks.walked_to is 'Up to this position the chunk had been walked when it was reopened: there, a walk claims only what was reopened.';
comment on column notify.chunks.first_id is 'The first delivery that was ever claimed; with last_id it finds the deliveries of a chunk without an index of their own.';
comment on column notify.chunks.page_ends is 'When the latest pages ended, 32 at most, and in page_sizes how many messages each had: the pace that was reached.';

update notify.chunks as c
set
    first_id = d.first_id,
    last_id = d.last_id
from (
    select f.run_id, f.ordinal, min(f.delivery_id) as first_id, max(f.delivery_id) as last_id
    from notify.deliveries as f
    group by f.run_id, f.ordinal
) as d
where c.run_id = d.run_id and c.ordinal = d.ordinal;

create table notify.failures (
    run_id int not null,
    ordinal smallint not null,
    error_class text not null,
    deliveries bigint not null,
    primary key (run_id, ordinal, error_class),
    foreign key (run_id, ordinal) references notify.chunks on delete cascade
);
comment on table notify.failures is 'How many deliveries of a chunk are `failed`, by error class, so that nobody has to scan the ledger for it.';

insert into notify.failures (run_id, ordinal, error_class, deliveries)
select d.run_id, d.ordinal, coalesce(d.error_class, 'unclassified'), count(*)
from notify.deliveries as d
where d.state = 'failed'
group by d.run_id, d.ordinal, coalesce(d.error_class, 'unclassified');
