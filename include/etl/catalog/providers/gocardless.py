"""GoCardless Bank Account Data, formerly Nordigen: bank data from Europe, under the rules of PSD2.

Each account is a login of its own: its item id is the id of the account, and one token of the client reads all. Banks
allow four calls a day for each account and kind of data. A requisition, to which a user consents, brings the accounts.

Sources: GoCardless, "Bank Account Data": "Quickstart Guide", "Statuses and Error Codes", "Account Transactions Output",
"Account Details Output", as of 2026; "Bank API Rate Limits and Rate Limit Headers", four calls a day since March 2025,
of which only successful ones count; the OpenAPI document of version 2.0, as stored in `nip10/gocardless-open-banking`,
`docs/spec.json`; the client `nordigen/nordigen-python`; and for what banks really send, `actualbudget/actual`,
`packages/sync-server/src/app-gocardless`.
"""

from datetime import timedelta

from etl.declare.api.auth import ClientCredentials, TokenRequest
from etl.declare.api.quota import Quota
from etl.declare.provider import (
    Consent,
    ConsentLookup,
    Enrolment,
    ErrorAction,
    ErrorRule,
    InstitutionLookup,
    LimitScope,
    Placeholder,
    Provider,
    RateLimit,
)
from etl.declare.source import Recent, Snapshot

GOCARDLESS = Provider(
    name="gocardless",
    connection="gocardless",
    auth=ClientCredentials(
        token=TokenRequest(
            path="/token/new/",
            body={"secret_id": Placeholder.CLIENT_ID, "secret_key": Placeholder.CLIENT_SECRET},
            access_token="access",
            expires_in="access_expires",
            refresh_token="refresh",
        ),
        refresh=TokenRequest(
            path="/token/refresh/",
            body={"refresh": Placeholder.REFRESH_TOKEN},
            access_token="access",
            expires_in="access_expires",
        ),
    ),
    enrolment=Enrolment(
        path="/requisitions/{public_token}/",
        item_id="accounts[]",
        expects={"status": "LN"},
        valid_days=ConsentLookup(
            path="/agreements/enduser/{consent_id}/", consent_id="agreement", valid_days="access_valid_for_days"
        ),
        institution=InstitutionLookup(path="/accounts/{item_id}/", institution_id="institution_id"),
    ),
    consent=Consent(lifetime=timedelta(days=90)),
    error_code="type",
    wait_headers=("HTTP_X_RATELIMIT_RESET",),
    errors=(
        ErrorRule(
            ErrorAction.STOP_ACCOUNT,
            field="summary",
            code="End User Agreement*has expired",
            remedy="The users' agreements have ended: let them connect their accounts again with a new requisition.",
        ),
        ErrorRule(
            ErrorAction.STOP_ACCOUNT,
            code="AccessExpiredError",
            remedy="A bank has probably ended the access to its accounts: see its status in the portal of Bank Account "
            "Data, and let its users connect their accounts again.",
        ),
        ErrorRule(ErrorAction.STOP_ACCOUNT, code="AccountInactiveError"),
        ErrorRule(ErrorAction.STOP_ACCOUNT, code="AccountAccessForbidden"),
        ErrorRule(ErrorAction.STOP_ACCOUNT, field="summary", code="No valid End User Agreement"),
        ErrorRule(ErrorAction.STOP_ACCOUNT, field="summary", code="End User Agreement*access scope error"),
        ErrorRule(ErrorAction.STOP_ACCOUNT, field="summary", code="Account suspended"),
        ErrorRule(
            ErrorAction.STOP_ACCOUNT,
            field="summary",
            code="Account ID*not found",
            remedy="The Airflow connection `gocardless` probably has the secrets of another company: an account is "
            "known only to the company whose requisition it came with.",
        ),
        ErrorRule(ErrorAction.NO_CALLS_LEFT, code="RateLimitError"),
        ErrorRule(ErrorAction.NOT_READY, code="AccountProcessing"),
        ErrorRule(ErrorAction.NOT_READY, field="status", code="PROCESSING"),
    ),
)

ACCOUNT_CALLS = Quota(
    calls=4,
    per=timedelta(days=1),
    remaining_header="HTTP_X_RATELIMIT_ACCOUNT_SUCCESS_REMAINING",
    reset_header="HTTP_X_RATELIMIT_ACCOUNT_SUCCESS_RESET",
    counts_errors=False,
)

# All calls for accounts are limited together, to 100 a minute; each of the two sources takes half.
ACCOUNT_LIMITS = (RateLimit(LimitScope.CLIENT, calls=50, per=timedelta(minutes=1), burst=5),)

ACCOUNT_DETAILS = Snapshot(
    name="gocardless_account_details",
    path="/accounts/{item_id}/details/",
    upserts=("account{}",),
    quota=ACCOUNT_CALLS,
    limits=ACCOUNT_LIMITS,
)

ACCOUNT_TRANSACTIONS = Recent(
    name="gocardless_account_transactions",
    path="/accounts/{item_id}/transactions/",
    query={"date_from": Placeholder.FIRST_DAY, "date_to": Placeholder.LAST_DAY},
    upserts=("transactions.booked[]", "transactions.pending[]"),
    optional=("transactions.pending[]",),
    days=30,
    first_days=730,
    dated_by="dated_on",
    pending="pending",
    quota=ACCOUNT_CALLS,
    limits=ACCOUNT_LIMITS,
)
