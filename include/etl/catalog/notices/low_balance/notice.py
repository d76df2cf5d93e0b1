"""An account that came to hold little."""

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
        # Accounts in a currency that is not named are told of by nobody.
        "thresholds": {"USD": "100", "CAD": "100", "EUR": "100", "GBP": "100"},
        # Where a click leads; nowhere if it is empty.
        "link": "",
    },
    expiry=timedelta(hours=12),
    unknown=UnknownPolicy.HOLD,
    schedule="0 9 * * *",
    deadline=timedelta(hours=4),
)
