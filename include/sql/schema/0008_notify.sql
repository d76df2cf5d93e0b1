-- Batch notifications: whom they may reach and how, the runs, and the ledger of every delivery.

create schema notify;

create type notify.channel as enum ('email', 'push', 'desktop');
create type notify.state as enum ('claimed', 'sent', 'failed', 'suppressed', 'expired', 'unknown');

create table notify.contacts (
    contact_id bigint generated always as identity primary key,
    user_id bigint not null references core.users on delete cascade,
    channel notify.channel not null,
    address text not null,
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    ended_for text,
    unique (user_id, channel, address)
);
comment on table notify.contacts is 'Where a user can be reached. Of several addresses of one channel the newest that has not ended is used.';
comment on column notify.contacts.address is 'An e-mail address, a registration token, or a Web Push subscription as JSON.';
comment on column notify.contacts.ended_at is 'When a server said that it will never take a message again.';

create table notify.consents (
    user_id bigint not null references core.users on delete cascade,
    category text not null,
    granted boolean not null,
    changed_at timestamptz not null default now(),
    primary key (user_id, category)
);
comment on table notify.consents is 'What users said about a category of notices; one who said nothing has no row.';

create table notify.suppressions (
    address text not null,
    channel notify.channel not null,
    reason text not null,
    since timestamptz not null default now(),
    primary key (address, channel)
);
comment on table notify.suppressions is 'Addresses that get nothing of any notice, such as those that bounced or complained.';
comment on column notify.suppressions.address is 'In lower case if it is an e-mail address.';

create table notify.notices (
    notice_id smallint generated always as identity primary key,
    name text not null unique
);
comment on table notify.notices is 'Short numbers in place of names: the ledger has a hundred million rows.';

create table notify.runs (
    run_id int generated always as identity primary key,
    notice_id smallint not null references notify.notices,
    period text not null,
    trigger text not null,
    as_of timestamptz not null,
    expires_at timestamptz,
    parameters jsonb not null,
    pace double precision not null check (pace >= 0),
    state text not null default 'running' check (state in ('running', 'paused', 'cancelled', 'done')),
    recipients bigint not null default 0,
    planned_at timestamptz not null default now(),
    ended_at timestamptz,
    unique (notice_id, period)
);
comment on table notify.runs is 'One notice for one period, frozen when it was planned, save its pace and its state.';
comment on column notify.runs.trigger is 'Which run of the Dag, or which call, planned it; another that comes for the same period finds nothing to do.';
comment on column notify.runs.pace is 'Messages a second over all workers; 0 sends nothing. Senders read it again every second.';

create table notify.chunks (
    run_id int not null references notify.runs,
    ordinal smallint not null,
    start bigint not null,
    stop bigint not null check (stop > start),
    recipients bigint not null,
    position bigint not null,
    claimed_from bigint,
    claimed_to bigint,
    attempt smallint not null default 0,
    stalls smallint not null default 0,
    sent bigint not null default 0,
    failed bigint not null default 0,
    suppressed bigint not null default 0,
    expired bigint not null default 0,
    unknown bigint not null default 0,
    unreachable bigint not null default 0,
    repeated bigint not null default 0,
    finished_at timestamptz,
    primary key (run_id, ordinal)
) with (fillfactor = 50);
comment on table notify.chunks is 'Ranges of a run''s audience, and how far each was sent; the sums need no scan of the ledger.';
comment on column notify.chunks.position is 'The last position of the audience whose deliveries have ended; a retry continues after it.';
comment on column notify.chunks.claimed_from is 'The first delivery of the page claimed last; with claimed_to it finds what a killed attempt left.';
comment on column notify.chunks.stalls is 'How often in a row the server took nothing at all.';
comment on column notify.chunks.unreachable is 'Recipients without an address of a channel; they have no row in the ledger.';
comment on column notify.chunks.repeated is 'Deliveries that another run or chunk had made already.';

create table notify.deliveries (
    delivery_id bigint generated always as identity primary key,
    user_id bigint not null,
    claimed_at timestamptz not null default now(),
    ended_at timestamptz,
    run_id int not null,
    channel notify.channel not null,
    state notify.state not null,
    notice_id smallint not null,
    ordinal smallint not null,
    attempt smallint not null,
    doubts smallint not null default 0,
    dedupe_key text not null,
    error_class text,
    error text,
    unique (notice_id, dedupe_key, channel, user_id)
) with (fillfactor = 45);
comment on table notify.deliveries is
'The ledger: a row goes in before its message, so that nobody gets one twice. Over half of each page is left free for the second, longer version of its rows, which then needs no new index entry: no column that changes is in an index, and none may be.';
comment on column notify.deliveries.attempt is 'Of its chunk, when it was claimed last.';
comment on column notify.deliveries.doubts is 'How often nobody could tell whether its message had arrived.';
comment on column notify.deliveries.error_class is 'Short and countable, such as `550`, `no_consent` or `malformed_address`.';
