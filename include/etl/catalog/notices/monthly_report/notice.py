"""Notice of what a user spent in a month."""

from datetime import timedelta

from etl.catalog.channels import EMAIL
from etl.catalog.queues import EMAILS
from etl.declare.notice import Category, Consent, Notice, UnknownPolicy

MONTHLY_REPORT = Notice(
    name="monthly_report",
    summary="What each user spent in the month that has ended, by currency.",
    channels=(EMAIL,),
    category=Category("reports", Consent.OPT_OUT),
    queue=EMAILS,
    pace=500,
    period="%Y-%m",
    expiry=timedelta(days=7),
    unknown=UnknownPolicy.HOLD,
    chunk_size=10_000,
    max_chunks=256,
    schedule="0 8 1 * *",
    deadline=timedelta(hours=12),
)
