"""Notice about a large payment at Example bank."""

from datetime import timedelta

from etl.catalog.channels import EMAIL
from etl.catalog.queues import EMAILS
from etl.declare.notice import After, Category, Consent, Notice, UnknownPolicy

EXAMPLEBANK_PAYMENTS = Notice(
    name="examplebank_payments",
    summary="A large payment from an account at Example bank, once each.",
    channels=(EMAIL,),
    category=Category("payments", Consent.OPT_OUT),
    queue=EMAILS,
    pace=50,
    period="%Y-%m-%dT%H:%M:%SZ",
    # Payments in a currency without a threshold cause no message.
    parameters={"days": 3, "thresholds": {"EUR": "500", "GBP": "500", "USD": "500"}},
    expiry=timedelta(days=1),
    unknown=UnknownPolicy.HOLD,
    schedule=After("examplebank_transactions"),
)
