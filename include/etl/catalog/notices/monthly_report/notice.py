"""Notice of what a user spent and received in a month."""

from datetime import timedelta

from etl.catalog.channels import EMAIL
from etl.catalog.queues import EMAILS
from etl.declare.notice import Category, Consent, Notice, UnknownPolicy

MONTHLY_REPORT = Notice(
    name="monthly_report",
    summary="What each user spent and received in the month that has ended, by currency, and which bank is missing.",
    channels=(EMAIL,),
    category=Category("reports", Consent.OPT_OUT),
    queue=EMAILS,
    pace=500,
    period="%Y-%m",
    # URL of the page where a user logs in at a bank again; if it is empty, the mail has no button.
    parameters={"link": ""},
    expiry=timedelta(days=7),
    unknown=UnknownPolicy.HOLD,
    chunk_size=10_000,
    max_chunks=256,
    schedule="0 8 1 * *",
    deadline=timedelta(hours=12),
)
