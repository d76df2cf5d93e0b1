"""Notice about an account whose balance fell below a threshold."""

from datetime import timedelta

from etl.catalog.channels import DESKTOP, EMAIL
from etl.catalog.queues import EMAILS
from etl.declare.notice import Category, Consent, Notice, UnknownPolicy

LOW_BALANCE = Notice(
    name="low_balance",
    summary="An account that came to hold less than the threshold of its currency, at most once a week.",
    channels=(DESKTOP, EMAIL),
    category=Category("balances", Consent.OPT_IN),
    queue=EMAILS,
    pace=200,
    period="%Y-%m-%d",
    parameters={
        "days": 2,
        # No message is sent about an account in a currency without a threshold.
        "thresholds": {"USD": "100", "CAD": "100", "EUR": "100", "GBP": "100"},
        # URL that a click opens; nothing happens if it is empty.
        "link": "",
    },
    expiry=timedelta(hours=12),
    unknown=UnknownPolicy.HOLD,
    schedule="0 9 * * *",
    deadline=timedelta(hours=4),
)
