"""A warehouse with a history: logins with rows, holds that were posted, and their bookkeeping."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from etl.db.connection import Connection

ROWS_OF_A_LOGIN = 400
OBSERVED_AT = datetime(2026, 11, 19, tzinfo=UTC)
CURSOR = "earlier"
MASK = "1234"
"""Of each account."""

_LOGINS = """
insert into core.users (user_id, reference) overriding system value
select n, 'u' || n from generate_series(1, %(logins)s) as n;
insert into core.provider_accounts (
    provider_account_id, user_id, provider, item_id, access_token, history_days, enrolled_at, linked_at, institution_id
) overriding system value
select n, n, 'plaid', 'item-' || n, 'token', 730, %(observed_at)s, %(observed_at)s, 'ins_1'
from generate_series(1, %(logins)s) as n;
select setval(pg_get_serial_sequence('core.users', 'user_id'), %(logins)s);
select setval(pg_get_serial_sequence('core.provider_accounts', 'provider_account_id'), %(logins)s);
"""
_BATCHES = """
insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size, attempts, planned_at)
select e.name, 'earlier ' || day, n, 1 + n * 10, 11 + n * 10, 500, 1, %(observed_at)s - make_interval(days => 30 - day)
from unnest(array['transactions', 'accounts']) as e (name)
cross join generate_series(1, 30) as day
cross join generate_series(0, %(logins)s / 10 - 1) as n;
insert into etl.raw_batches (
    source, chunk_id, attempt, content_hash, path, accounts, pages, bytes, opened_at, sealed_at, provider_account_ids
)
select
    case c.entity when 'transactions' then 'transactions_sync' else 'accounts_get' end,
    c.chunk_id, 1, encode(sha256(c.chunk_id::text::bytea), 'hex'), 'earlier/' || c.chunk_id, 10, 10, 1000,
    c.planned_at, c.planned_at, array(select generate_series(c.start, c.stop - 1))
from etl.chunks as c
order by c.planned_at, c.chunk_id;
insert into etl.loads (
    raw_id, entity, version, read, inserted, updated, unchanged, removed, superseded, stale, rejected, loaded_at
)
select b.raw_id, e.name, 2, 1, 1, 0, 0, 0, 0, 0, 0, b.sealed_at
from etl.raw_batches as b
cross join lateral unnest(
    case b.source when 'transactions_sync' then array['transactions', 'merchants'] else array['accounts'] end
) as e (name);
insert into etl.cursors (provider_account_id, feed, value, raw_id, moved_at, observed_at, told_at, generation)
select n, 'transactions_sync', %(cursor)s, 1, %(observed_at)s, %(observed_at)s, %(observed_at)s, 1
from generate_series(1, %(logins)s) as n;
insert into etl.rejects (
    raw_id, entity, version, provider_account_id, record_id, observed_at, line, path, rule, reason, closed_at, closed_by
)
select n, 'transactions', 2, n, 'r' || n, %(observed_at)s, 0, 'added[0].amount', 'type', 'bad',
    case when n %% 100 <> 0 then %(observed_at)s end, case when n %% 100 <> 0 then n end
from generate_series(1, %(logins)s) as n;
"""
_ROWS = """
insert into core.accounts (
    provider_account_id, account_id, name, mask, type, subtype, balance_current, currency, observed_at, raw_id
)
select n, 'account-' || n, 'Checking', %(mask)s, 'depository', 'checking', 1, 'USD', %(observed_at)s, 1
from generate_series(1, %(logins)s) as n;
insert into core.merchants (entity_id, name, observed_at, raw_id)
select 'merchant-' || n, 'Merchant ' || n, %(observed_at)s, 1
from generate_series(1, %(logins)s * 10) as n;
-- Rows of a login lie together, as after its first load. Two of five are holds that ended as posted, so that `pending`
-- and `removed_at` depend on each other; one in a
-- hundred logins has a live hold.
insert into core.transactions (
    provider_account_id, account_id, transaction_id, amount, currency, dated_on, pending, pending_transaction_id,
    description, merchant_name, merchant_entity_id, payment_channel, category, category_detail,
    removed_at, removed_for, observed_at, raw_id
)
select
    n, 'account-' || n, n || '-' || k, (n * 31 + k) %% 9973 + 0.25, 'USD',
    %(observed_at)s::date - (%(rows)s - k) / 2, k %% 5 < 2, case when k %% 5 in (2, 3) then n || '-' || k - 2 end,
    'PURCHASE MERCHANT ' || (n * 7 + k) %% (%(logins)s * 10), 'Merchant ' || (n * 7 + k) %% (%(logins)s * 10),
    'merchant-' || 1 + (n * 7 + k) %% (%(logins)s * 10), 'in store', 'FOOD_AND_DRINK', 'FOOD_AND_DRINK_COFFEE',
    case when k %% 5 < 2 and not (k = %(rows)s and n %% 100 = 0) then %(observed_at)s end,
    case when k %% 5 < 2 and not (k = %(rows)s and n %% 100 = 0) then 'posted' end,
    %(observed_at)s, 1 + (n * 31 + k) %% 30
from generate_series(1, %(logins)s) as n
cross join lateral generate_series(1, %(rows)s + 0 * n) as k;
insert into core.transactions_history
select t.*, %(observed_at)s from core.transactions as t where t.transaction_id like '%%-7';
"""


@dataclass(frozen=True)
class GrownWarehouse:
    """A warehouse that has loaded a feed for a month.

    Parameters
    ----------
    db
        A connection to it.
    logins
        How many logins it has, with `ROWS_OF_A_LOGIN` transactions each; their ids begin with 1.
    """

    db: Connection
    logins: int

    def fill(self) -> None:
        """Fill an empty warehouse, without triggers, which would keep a version of nothing."""
        values = {
            "logins": self.logins,
            "rows": ROWS_OF_A_LOGIN,
            "observed_at": OBSERVED_AT,
            "cursor": CURSOR,
            "mask": MASK,
        }
        with self.db.transaction():
            self.db.execute("set local session_replication_role = replica")
            for script in (_LOGINS, _BATCHES, _ROWS):
                for statement in script.split(";\n"):
                    if statement.strip():
                        self.db.execute(statement.encode(), values)
