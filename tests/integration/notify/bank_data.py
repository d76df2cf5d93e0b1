"""Payments and accounts as banks report them, for the tests of notices."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import count

from psycopg.rows import scalar_row

from etl.db.connection import Connection
from etl.sync.logins.store import replaced_accounts
from etl.sync.logins.store.replaced_accounts import LinkedAccount

_ordinals = count(1)
DESKTOP_ADDRESS = '{"endpoint": "https://push.example/1"}'


def today() -> date:
    return datetime.now(UTC).date()


def days_ago(days: int) -> date:
    return today() - timedelta(days=days)


def find_provider_account(db: Connection, user: int) -> int:
    """Return the only provider account of a user."""
    with db.cursor(row_factory=scalar_row) as cursor:
        (provider_account_id,) = cursor.execute(
            "select provider_account_id from core.provider_accounts where user_id = %s", (user,)
        ).fetchall()
    return int(provider_account_id)


def add_contact(db: Connection, user: int, channel: str, address: str) -> None:
    """Add an address of a user."""
    db.execute("insert into notify.contacts (user_id, channel, address) values (%s, %s, %s)", (user, channel, address))


def add_payment(
    db: Connection,
    provider_account_id: int,
    amount: str,
    *,
    on: date,
    currency: str | None = "USD",
    pending: bool = False,
    was_pending: str | None = None,
    removed: bool = False,
    account: str = "everyday",
) -> str:
    """Add a payment, and return its id."""
    transaction = f"payment {next(_ordinals)}"
    db.execute(
        "insert into core.transactions (provider_account_id, account_id, transaction_id, amount, currency, "
        "unofficial_currency, dated_on, pending, pending_transaction_id, description, payment_channel, removed_at, "
        "observed_at, raw_id) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'Shop', 'online', %s, now(), %s)",
        (
            provider_account_id,
            account,
            transaction,
            amount,
            currency,
            None if currency else "DOGE",
            on,
            pending,
            was_pending,
            datetime.now(UTC) if removed else None,
            _raw_batch(db),
        ),
    )
    return transaction


def add_usual_payments(
    db: Connection, provider_account_id: int, *, payments: int = 12, amount: str = "40", currency: str = "USD"
) -> None:
    """Add payments of the previous weeks: one of `amount`, and smaller ones."""
    for number in range(payments):
        add_payment(
            db, provider_account_id, amount if number == 0 else "7.5", on=days_ago(5 + 3 * number), currency=currency
        )


def set_balance(
    db: Connection,
    provider_account_id: int,
    available: str | None,
    *,
    current: str | None = "900",
    currency: str | None = "USD",
    kind: str = "depository",
    account: str = "everyday",
    observed_at: datetime | None = None,
) -> None:
    """Add an account with this balance, or change the balance of an existing one."""
    db.execute(
        "insert into core.accounts (provider_account_id, account_id, name, mask, type, balance_current, "
        "balance_available, currency, observed_at, raw_id) values (%s, %s, 'Everyday', '4821', %s, %s, %s, %s, %s, %s) "
        "on conflict (provider_account_id, account_id) do update "
        "set balance_available = excluded.balance_available, observed_at = excluded.observed_at",
        (
            provider_account_id,
            account,
            kind,
            current,
            available,
            currency,
            observed_at or datetime.now(UTC) - timedelta(hours=1),
            _raw_batch(db),
        ),
    )


def link_again(db: Connection, provider_account_id: int, *, account: str = "everyday") -> int:
    """Add a login of the same user with the same bank account, which replaces the earlier one; return it."""
    with db.cursor(row_factory=scalar_row) as cursor:
        (new,) = cursor.execute(
            "insert into core.provider_accounts (user_id, provider, item_id, access_token, institution_id) "
            "select user_id, provider, item_id || ' again', '', 'ins_1' from core.provider_accounts "
            "where provider_account_id = %s returning provider_account_id",
            (provider_account_id,),
        ).fetchall()
    db.execute(
        "update core.provider_accounts set institution_id = 'ins_1' where provider_account_id = %s",
        (provider_account_id,),
    )
    db.execute(
        "insert into core.accounts (provider_account_id, account_id, persistent_id, observed_at, raw_id) "
        "values (%s, %s, 'p', now(), %s) on conflict (provider_account_id, account_id) do update "
        "set persistent_id = 'p'",
        (provider_account_id, account, _raw_batch(db)),
    )
    assert replaced_accounts.compare(db, [LinkedAccount(new, account, "p", None, None, None, None)])
    return int(new)


def end_replaced(db: Connection, provider_account_id: int) -> None:
    """End the transactions of a login that was replaced, as the first load of the new one does."""
    db.execute(
        "update core.transactions set removed_at = now(), removed_for = 'replaced' "
        "where provider_account_id = %s and removed_at is null",
        (provider_account_id,),
    )


def set_state(db: Connection, provider_account_id: int, state: str) -> None:
    """Put a login into a state of its own."""
    db.execute(
        "update core.provider_accounts set state = %s, access_token = case when %s <> 'unlinked' then access_token end "
        "where provider_account_id = %s",
        (state, state, provider_account_id),
    )


def _raw_batch(db: Connection) -> int:
    """Return the raw batch that all rows refer to; create it if there is none."""
    with db.cursor(row_factory=scalar_row) as cursor:
        raw_id = cursor.execute("select max(raw_id) from etl.raw_batches").fetchone()
        if raw_id is None:
            (chunk,) = cursor.execute(
                "insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size) "
                "values ('transactions', 'tests', 0, 1, 2, 1) returning chunk_id"
            ).fetchall()
            (raw_id,) = cursor.execute(
                "insert into etl.raw_batches (source, chunk_id, attempt, content_hash, path, accounts, pages, bytes) "
                "values ('tests', %s, 1, '', '', 0, 0, 0) returning raw_id",
                (chunk,),
            ).fetchall()
    return int(raw_id)
