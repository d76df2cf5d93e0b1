"""`python -m deploy.worker GROUP`: become a worker of a declared group; ends when Celery's own ends."""

import os
import sys
from collections.abc import Sequence

from deploy import workers
from etl.catalog.queues import QUEUES, WORKER_GROUPS


def command(names: Sequence[str]) -> tuple[str, ...]:
    """Return the command that runs the workers of the group that is named.

    Raises
    ------
    SystemExit
        If no group is named, or one that is not declared.
    """
    groups = {group.name: group for group in WORKER_GROUPS}
    if len(names) != 1 or names[0] not in groups:
        sys.exit(f"Which worker group? {' '.join(names) or 'None'} was named; name one of {', '.join(groups)}.")
    (name,) = names
    return ("airflow", *workers.arguments(groups[name], QUEUES, name=name))


def main() -> None:
    """Start the worker in place of this process, so that it hears the container's signals."""
    chosen = command(sys.argv[1:])
    os.execvp(chosen[0], chosen)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
