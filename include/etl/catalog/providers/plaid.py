"""Plaid: bank data of consumers in North America and Europe.

Source: Plaid API reference, version 2020-09-14; default production limits. A burst reduces the steady rate, so the
burst of the busiest limit is only a quarter of a second's worth of calls: enough for workers that wake up late.
"""

from datetime import timedelta

from etl.declare.provider import Enrolment, ErrorAction, ErrorRule, LimitScope, Placeholder, Provider, RateLimit
from etl.declare.source import Feed, Snapshot, Window

PLAID = Provider(
    name="plaid",
    connection="plaid",
    headers={
        "PLAID-CLIENT-ID": Placeholder.CLIENT_ID,
        "PLAID-SECRET": Placeholder.CLIENT_SECRET,
        "Plaid-Version": "2020-09-14",
    },
    enrolment=Enrolment(
        path="/item/public_token/exchange",
        request={"public_token": Placeholder.PUBLIC_TOKEN},
        access_token="access_token",
        item_id="item_id",
    ),
    errors=(
        ErrorRule(ErrorAction.RETRY, error_type="RATE_LIMIT_EXCEEDED"),
        ErrorRule(ErrorAction.RETRY, error_type="API_ERROR"),
        ErrorRule(ErrorAction.RETRY, error_type="INSTITUTION_ERROR"),
        ErrorRule(ErrorAction.RESTART_FEED, error_code="TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"),
        ErrorRule(ErrorAction.REREAD_FEED, error_code="INVALID_FIELD"),
        ErrorRule(ErrorAction.NOT_READY, error_code="PRODUCT_NOT_READY"),
        ErrorRule(ErrorAction.STOP_ACCOUNT, error_code="INVALID_ACCESS_TOKEN"),
        ErrorRule(ErrorAction.STOP_ACCOUNT, error_type="ITEM_ERROR"),
    ),
)

ACCOUNTS_GET = Snapshot(
    name="accounts_get",
    path="/accounts/get",
    request={"access_token": Placeholder.ACCESS_TOKEN},
    upserts=("accounts[]",),
    max_records=2_000,
    limits=(
        RateLimit(LimitScope.CLIENT, calls=15_000, per=timedelta(minutes=1), burst=3_000),
        RateLimit(LimitScope.ACCOUNT, calls=15, per=timedelta(minutes=1), burst=5),
    ),
)

TRANSACTIONS_SYNC = Feed(
    name="transactions_sync",
    path="/transactions/sync",
    request={"access_token": Placeholder.ACCESS_TOKEN, "cursor": Placeholder.CURSOR, "count": Placeholder.PAGE_SIZE},
    upserts=("added[]", "modified[]"),
    deletes=("removed[]",),
    cursor="next_cursor",
    more="has_more",
    cursor_life=timedelta(days=365),
    page_size=500,
    limits=(
        RateLimit(LimitScope.CLIENT, calls=2_500, per=timedelta(minutes=1), burst=10),
        RateLimit(LimitScope.ACCOUNT, calls=50, per=timedelta(minutes=1), burst=10),
    ),
)

TRANSACTIONS_GET = Window(
    name="transactions_get",
    path="/transactions/get",
    request={
        "access_token": Placeholder.ACCESS_TOKEN,
        "start_date": Placeholder.FIRST_DAY,
        "end_date": Placeholder.LAST_DAY,
        "options": {"count": Placeholder.PAGE_SIZE, "offset": Placeholder.OFFSET},
    },
    upserts=("transactions[]",),
    total="total_transactions",
    identity="transaction_id",
    page_size=500,
    limits=(
        RateLimit(LimitScope.CLIENT, calls=20_000, per=timedelta(minutes=1), burst=4_000),
        RateLimit(LimitScope.ACCOUNT, calls=30, per=timedelta(minutes=1), burst=10),
    ),
)
