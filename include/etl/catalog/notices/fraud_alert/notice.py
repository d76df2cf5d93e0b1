"""Notice about a payment that is much larger than the other payments from its account."""

from datetime import timedelta

from etl.catalog.channels import EMAIL, PUSH
from etl.catalog.queues import URGENT_NOTIFICATIONS
from etl.declare.notice import After, Category, Consent, Notice, UnknownPolicy

FRAUD_ALERT = Notice(
    name="fraud_alert",
    summary="A payment much larger than its account's others in the months before, sent within minutes.",
    channels=(PUSH, EMAIL),
    category=Category("security", Consent.NONE),
    queue=URGENT_NOTIFICATIONS,
    pace=200,
    period="%Y-%m-%dT%H:%M:%SZ",
    parameters={
        "factor": 5,
        "days": 2,
        "usual_days": 90,
        "usual_payments": 10,
        # In a currency without a floor, a payment of any amount may be unusual.
        "floors": {"USD": "100", "CAD": "100", "EUR": "100", "GBP": "100"},
        # URL that a tap opens; if it is empty, a tap only opens the application.
        "link": "",
    },
    expiry=timedelta(minutes=15),
    unknown=UnknownPolicy.RESEND,
    chunk_size=1_000,
    max_chunks=32,
    schedule=After("transactions"),
    timeout=timedelta(minutes=20),
)
