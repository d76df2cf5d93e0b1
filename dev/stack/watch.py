"""Reloading a stack whenever one of its steps or plugins changes."""

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event

from watchfiles import PythonFilter, watch

from dev.servers.errors import StackError
from etl.errors import SluiceError

_QUIET_MILLISECONDS = 1_000
"""Edits closer together are reloaded together."""


def watch_project(
    project: Path, reload: Callable[[], None], *, say: Callable[[str], None], stop: Event | None = None
) -> None:
    """Call `reload` after each change of a step or a plugin, until `stop` is set.

    Declarations, hooks, SQL and templates need no reload: each task reads them anew.

    Parameters
    ----------
    project
        Folder with `plugins` and `include`.
    reload
        Reloads the stack; if it refuses, the next change is another try.
    say
        Called with each message for the user.
    stop
        Ends the watch when it is set.
    """
    steps, plugins = project / "include" / "etl", project / "plugins"
    say(f"Watching {steps} and {plugins}: when a step or a plugin changes, Dag processor and workers are restarted.")
    for changes in watch(steps, plugins, watch_filter=PythonFilter(), debounce=_QUIET_MILLISECONDS, stop_event=stop):
        if changed := sorted(path for path in map(Path, _paths(changes)) if not path.is_relative_to(steps / "catalog")):
            say(f"Changed: {', '.join(str(path.relative_to(project)) for path in changed)}.")
            try:
                reload()
            except (StackError, SluiceError) as error:
                say(str(error))


def _paths(changes: Iterable[tuple[object, str]]) -> set[str]:
    return {path for _, path in changes}
