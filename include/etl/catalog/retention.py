"""How long each kind of data is kept; the Dag `maintenance` and `sluice purge` remove what is older."""

from datetime import timedelta

from etl.declare.retention import Retention

RETENTION = Retention(
    raw_batches=timedelta(days=400),
    typed_batches=timedelta(days=14),
    rejects=timedelta(days=400),
    history=timedelta(days=400),
    deliveries=timedelta(days=400),
    unfinished=timedelta(days=2),
    metadata=timedelta(days=90),
    audit_log=timedelta(days=400),
)
