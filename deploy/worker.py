"""`python -m deploy.worker GROUP`: replace this process by a Celery worker of a declared group."""

import os
import sys
from collections.abc import Sequence

from deploy import workers
from etl.catalog.queues import QUEUES, WORKER_GROUPS


def command(names: Sequence[str]) -> tuple[str, ...]:
    """Return the command that starts a worker of the named group.

    Raises
    ------
    SystemExit
        If `names` is not exactly one declared group.
    """
    groups = {group.name: group for group in WORKER_GROUPS}
    if len(names) != 1 or names[0] not in groups:
        sys.exit(f"the worker group is {' '.join(names) or 'missing'}; it must be one of {', '.join(groups)}.")
    (name,) = names
    return ("airflow", *workers.arguments(groups[name], QUEUES, name=name))


def main() -> None:
    """Replace this process by the worker, so that the worker receives the container's signals."""
    worker = command(sys.argv[1:])
    os.execvp(worker[0], worker)  # noqa: S606 - needs no shell


if __name__ == "__main__":
    main()
