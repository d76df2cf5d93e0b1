"""Plaid: bank data of consumers in North America and Europe.

Source: Plaid API reference, version 2020-09-14; default production limits. A burst reduces the steady rate, so the
burst of the busiest limit is only a quarter of a second's worth of calls: enough for workers that wake up late.
"""

from datetime import timedelta

from etl.declare.api.paging import OffsetPaging, Total
from etl.declare.provider import (
    Enrolment,
    ErrorAction,
    ErrorRule,
    InstitutionLookup,
    LimitScope,
    Placeholder,
    Provider,
    RateLimit,
    Unlinking,
)
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
        body={"public_token": Placeholder.PUBLIC_TOKEN},
        access_token="access_token",
        item_id="item_id",
        institution=InstitutionLookup(
            path="/item/get",
            body={"access_token": Placeholder.ACCESS_TOKEN},
            institution_id="item.institution_id",
            institution_name="item.institution_name",
        ),
    ),
    unlinking=Unlinking(
        path="/item/remove",
        body={"access_token": Placeholder.ACCESS_TOKEN},
        gone_codes=("ITEM_NOT_FOUND",),
    ),
    errors=(
        ErrorRule(ErrorAction.RETRY, field="error_type", code="RATE_LIMIT_EXCEEDED"),
        ErrorRule(ErrorAction.RETRY, field="error_type", code="API_ERROR"),
        ErrorRule(ErrorAction.RETRY, field="error_type", code="INSTITUTION_ERROR"),
        ErrorRule(ErrorAction.RESTART_FEED, code="TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"),
        ErrorRule(ErrorAction.REREAD_FEED, code="INVALID_FIELD"),
        ErrorRule(ErrorAction.NOT_READY, code="PRODUCT_NOT_READY"),
        ErrorRule(
            ErrorAction.STOP_ACCOUNT,
            code="INVALID_ACCESS_TOKEN",
            remedy="The Airflow connection `plaid` probably has the wrong host (sandbox instead of production) or the "
            "client id of another team: a token is valid only where it was made.",
        ),
        ErrorRule(
            ErrorAction.STOP_ACCOUNT,
            code="ITEM_LOGIN_REQUIRED",
            remedy="A bank has probably changed its login or its API: see its status in Plaid's dashboard, and let its "
            "users log in again through Link's update mode.",
        ),
        ErrorRule(
            ErrorAction.STOP_ACCOUNT,
            code="ITEM_NOT_FOUND",
            remedy="Plaid has none of these items: see whether they were removed by /item/remove or in Plaid's "
            "dashboard, and whether the Airflow connection `plaid` has the right host.",
        ),
        ErrorRule(
            ErrorAction.STOP_ACCOUNT,
            code="USER_PERMISSION_REVOKED",
            remedy="See in Plaid's dashboard whether the consents at a bank have ended together; if so, let its users "
            "link it again.",
        ),
        ErrorRule(
            ErrorAction.STOP_ACCOUNT,
            field="error_type",
            code="ITEM_ERROR",
            remedy="See the status of the bank and the error code in Plaid's dashboard.",
        ),
    ),
)

ACCOUNTS_GET = Snapshot(
    name="accounts_get",
    path="/accounts/get",
    body={"access_token": Placeholder.ACCESS_TOKEN},
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
    body={"access_token": Placeholder.ACCESS_TOKEN, "cursor": Placeholder.CURSOR, "count": Placeholder.PAGE_SIZE},
    upserts=("added[]", "modified[]"),
    deletes=("removed[]",),
    cursor="next_cursor",
    more="has_more",
    cursor_life=timedelta(days=365),
    history=timedelta(days=730),
    page_size=500,
    limits=(
        RateLimit(LimitScope.CLIENT, calls=2_500, per=timedelta(minutes=1), burst=10),
        RateLimit(LimitScope.ACCOUNT, calls=50, per=timedelta(minutes=1), burst=10),
    ),
)

TRANSACTIONS_GET = Window(
    name="transactions_get",
    path="/transactions/get",
    body={
        "access_token": Placeholder.ACCESS_TOKEN,
        "start_date": Placeholder.FIRST_DAY,
        "end_date": Placeholder.LAST_DAY,
        "options": {"count": Placeholder.PAGE_SIZE, "offset": Placeholder.OFFSET},
    },
    upserts=("transactions[]",),
    paging=OffsetPaging(end=Total("total_transactions"), identity="transaction_id"),
    page_size=500,
    limits=(
        RateLimit(LimitScope.CLIENT, calls=20_000, per=timedelta(minutes=1), burst=4_000),
        RateLimit(LimitScope.ACCOUNT, calls=30, per=timedelta(minutes=1), burst=10),
    ),
)
