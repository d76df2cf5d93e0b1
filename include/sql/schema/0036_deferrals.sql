-- What is known of deliveries that wait for a later try. A delivery that a person lets be tried again is now one that is due.

create table notify.deferrals (
    delivery_id bigint primary key,
    run_id int not null,
    ordinal smallint not null,
    position bigint,
    reason text not null,
    destination text not null default '',
    not_before timestamptz not null,
    tries smallint not null default 0,
    first_tried_at timestamptz,
    error_class text,
    unique (run_id, ordinal, not_before, delivery_id),
    foreign key (run_id, ordinal) references notify.chunks on delete cascade
);
comment on table notify.deferrals is 'Deliveries that wait, and those of them that are being sent now; a row is removed when its delivery ends.';
comment on column notify.deferrals.position is 'Of its recipient in the audience; null if the recipient has left it.';
comment on column notify.deferrals.reason is '`retry`, `reopened`, `held`, `quiet_hours`, …';
comment on column notify.deferrals.destination is 'Mail domain, push service or project; empty if none is known.';
comment on column notify.deferrals.tries is 'How often a server has deferred it.';
comment on column notify.deferrals.error_class is 'Of the last answer; its text is in the ledger.';

-- Deliveries that were reopened and not sent again are as they were before; a person can retry them again.
with reopened as (
    select d.delivery_id
    from notify.chunks as c
    inner join notify.deliveries as d
        on d.delivery_id between c.first_id and c.last_id
        and d.run_id = c.run_id
        and d.ordinal = c.ordinal
    where c.reopened > 0 and d.state = 'reopened'
),
restored as (
    update notify.deliveries as d
    set
        state = case when d.doubts > 0 then 'unknown' else 'failed' end::notify.state,
        ended_at = now(),
        error_class = coalesce(d.error_class, 'unclassified')
    from reopened as o
    where d.delivery_id = o.delivery_id
    returning d.run_id, d.ordinal, d.state, d.error_class
),
failures as (
    insert into notify.failures as target (run_id, ordinal, error_class, deliveries)
    select r.run_id, r.ordinal, r.error_class, count(*)
    from restored as r
    where r.state = 'failed'
    group by r.run_id, r.ordinal, r.error_class
    on conflict (run_id, ordinal, error_class) do update set deliveries = target.deliveries + excluded.deliveries
)
update notify.chunks as c
set
    failed = c.failed + n.failed,
    unknown = c.unknown + n.unknown,
    reopened = 0
from (
    select
        r.run_id,
        r.ordinal,
        count(*) filter (where r.state = 'failed') as failed,
        count(*) filter (where r.state = 'unknown') as unknown
    from restored as r
    group by r.run_id, r.ordinal
) as n
where c.run_id = n.run_id and c.ordinal = n.ordinal;

update notify.chunks as c
set position = greatest(c.position, c.walked_to)
where c.finished_at is null and c.walked_to is not null;

comment on column notify.chunks.reopened is 'Not used any more.';
comment on column notify.chunks.walked_to is 'Not used any more.';
comment on column notify.chunks.reopened_at is 'Not used any more.';
comment on column notify.chunks.stalls is 'Not used any more.';
