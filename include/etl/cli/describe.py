"""`sluice describe`: print every declaration as JSON."""

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from etl.cli.help import examples
from etl.cli.terminal import print_json
from etl.declare import fault


@examples("sluice describe", "sluice describe | jq '.entities[].name'")
def describe() -> None:
    """Print every declaration as JSON: entities, notices, queues, worker groups and retention.

    Durations are in seconds.
    """
    with fault.explained():
        from etl.catalog.queues import QUEUES, WORKER_GROUPS
        from etl.catalog.retention import RETENTION

    declarations = {
        "entities": ENTITIES,
        "notices": NOTICES,
        "queues": QUEUES,
        "worker_groups": WORKER_GROUPS,
        "retention": RETENTION,
    }
    print_json(declarations, indent=2)
