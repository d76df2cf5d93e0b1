-- A known text under the keys of tokens, which tells whether a process has the keys of this warehouse.

create table etl.key_canary (
    is_only boolean primary key default true check (is_only),
    sealed bytea not null
);
comment on table etl.key_canary is 'A known text, encrypted as tokens are; a process whose keys do not open it must not link or read logins.';
