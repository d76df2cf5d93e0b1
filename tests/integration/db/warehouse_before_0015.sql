-- Rows of a warehouse that migrations 0001 to 0014 and the tables of that time made: what the later ones must keep.

insert into core.users (reference) values ('ada'), ('bob');

insert into core.provider_accounts
    (user_id, provider, item_id, access_token, state, stopped_for, stopped_at, enrolled_at)
values
    (1, 'plaid', 'item-1', '\x01', 'active', null, null, '2026-01-01Z'),
    (2, 'plaid', 'item-2', '\x02', 'stopped', 'ITEM_LOGIN_REQUIRED', '2026-02-01Z', '2026-01-02Z'),
    (2, 'plaid', 'item-3', '\x03', 'stopped', null, '2026-02-02Z', '2026-01-03Z');

insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size, attempts, outcome)
values ('transactions', 'run', 0, 1, 4, 500, 1, '{"drained": 2, "stopped": 1}');

insert into etl.raw_batches (source, chunk_id, attempt, content_hash, path, accounts, pages, bytes, sealed_at)
values
    ('transactions_sync', 1, 1, 'aa', 'raw/aa.zst', 2, 2, 100, '2026-01-10Z'),
    ('transactions_sync', 1, 2, 'bb', 'raw/bb.zst', 2, 2, 100, '2026-01-11Z'),
    ('transactions_get', 1, 3, 'cc', 'raw/cc.zst', 2, 2, 100, '2026-01-12Z');

insert into etl.cursors (provider_account_id, feed, value, raw_id, moved_at, observed_at, told_at)
values
    (1, 'transactions_sync', 'c1', 1, '2026-01-10Z', '2026-01-10Z', '2026-01-10Z'),
    (2, 'transactions_sync', '', null, null, null, null);

insert into etl.loads
    (raw_id, entity, version, read, inserted, updated, unchanged, removed, superseded, stale, rejected)
values (1, 'transactions', 1, 12, 9, 0, 0, 0, 0, 1, 2);

insert into etl.replays
    (raw_id, entity, version, read, inserted, updated, unchanged, removed, superseded, stale, rejected)
values (1, 'transactions', 1, 12, 0, 0, 9, 0, 0, 1, 2);

insert into etl.rejects (raw_id, entity, version, provider_account_id, line, path, rule, reason, rejected_at)
values
    (1, 'transactions', 1, 1, 0, 'added[3].amount', 'number', 'not a number', '2026-01-10Z'),
    (1, 'transactions', 1, 1, 0, 'added[4].amount', 'number', 'not a number', '2026-01-10Z');

insert into etl.left_out (chunk_id, attempt, provider_account_id, outcome, reason)
values (1, 1, 2, 'stopped', 'ITEM_LOGIN_REQUIRED'), (1, 1, 3, 'unreachable', 'timeout');

insert into etl.clock_corrections (raw_id, provider_account_id, observed_at) values (1, 1, '2026-01-10Z');

insert into core.accounts
    (provider_account_id, account_id, name, type, balance_current, currency, observed_at, raw_id)
values (1, 'checking', 'Checking', 'depository', 12.34, 'USD', '2026-01-10Z', 1);

insert into core.merchants (entity_id, name, observed_at, raw_id) values ('m1', 'Corner shop', '2026-01-10Z', 1);

-- The description says which of the rows with one id must stay.
insert into core.transactions
    (
        provider_account_id, account_id, transaction_id, amount, currency, dated_on, pending, description,
        payment_channel, removed_at, removed_for, observed_at, raw_id
    )
values
    (1, 'checking', 'single', 1.1, 'USD', '2026-01-05', false, 'stays', 'online', null, null, '2026-01-10Z', 1),
    (1, 'checking', 'ended', 1.2, 'USD', '2026-01-05', true, 'stays', 'online', '2026-01-10Z', 'withdrawn', '2026-01-10Z', 1),
    (1, 'checking', 'moved', 2, 'USD', '2026-01-05', false, 'goes', 'online', null, null, '2026-01-10Z', 1),
    (1, 'savings', 'moved', 2, 'USD', '2026-01-05', false, 'stays', 'online', null, null, '2026-01-11Z', 2),
    (1, 'checking', 'live', 3, 'USD', '2026-01-05', false, 'stays', 'online', null, null, '2026-01-10Z', 1),
    (1, 'savings', 'live', 3, 'USD', '2026-01-05', false, 'goes', 'online', '2026-01-11Z', 'absent', '2026-01-11Z', 2),
    (1, 'checking', 'same instant', 4, 'USD', '2026-01-05', false, 'goes', 'online', null, null, '2026-01-10Z', 1),
    (1, 'savings', 'same instant', 4, 'USD', '2026-01-05', false, 'stays', 'online', null, null, '2026-01-10Z', 2),
    (1, 'checking', 'both ended', 5, 'USD', '2026-01-05', false, 'goes', 'online', '2026-01-10Z', 'absent', '2026-01-10Z', 1),
    (1, 'savings', 'both ended', 5, 'USD', '2026-01-05', false, 'stays', 'online', '2026-01-11Z', 'absent', '2026-01-11Z', 2),
    (2, 'checking', 'moved', 6, 'EUR', '2026-01-05', false, 'stays', 'online', null, null, '2026-01-09Z', 1);

-- Batch 3 is a window, whose pending rows were withdrawn two weeks after their date.
insert into core.transactions
    (
        provider_account_id, account_id, transaction_id, amount, currency, dated_on, pending, description,
        payment_channel, removed_at, removed_for, observed_at, raw_id
    )
values
    (2, 'checking', 'window due', 7, 'EUR', current_date - 15, true, 'stays', 'online', null, null, '2026-01-12Z', 3),
    (2, 'savings', 'window due', 7, 'EUR', current_date - 15, true, 'goes', 'online', null, null, '2026-01-11Z', 3),
    (2, 'checking', 'window young', 7, 'EUR', current_date - 13, true, 'stays', 'online', null, null, '2026-01-12Z', 3),
    (2, 'checking', 'window posted', 7, 'EUR', current_date - 15, false, 'stays', 'online', null, null, '2026-01-12Z', 3),
    (2, 'checking', 'window ended', 7, 'EUR', current_date - 15, true, 'stays', 'online', '2026-01-13Z', 'posted', '2026-01-13Z', 3),
    (2, 'checking', 'feed due', 7, 'EUR', current_date - 15, true, 'stays', 'online', null, null, '2026-01-10Z', 1);

insert into notify.contacts (user_id, channel, address) values (1, 'email', 'ada@example.com');
insert into notify.contacts (user_id, channel, address, ended_at, ended_for) values (1, 'email', 'gone@example.com', '2026-01-05Z', '550');

-- Two of the three are one mailbox.
insert into notify.suppressions (address, channel, reason, since)
values
    ('joe@bücher.example', 'email', 'complained', '2026-01-05Z'),
    ('joe@xn--bcher-kva.example', 'email', 'bounced', '2026-01-06Z'),
    ('eve@example.com', 'email', 'asked', '2026-01-06Z');
