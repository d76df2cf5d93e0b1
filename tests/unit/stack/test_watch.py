"""The watcher: which edits reload the stack."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

import pytest

from dev.servers.errors import QueuesChanged
from dev.stack.watch import watch_project

_SECONDS = 20.0


@dataclass
class Watched:
    """A project that is watched."""

    project: Path
    messages: Queue[str] = field(default_factory=Queue)
    reloads: Queue[str] = field(default_factory=Queue)
    refusals: int = 1

    def edit(self, path: str) -> None:
        file = self.project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{path}\n")

    def reload(self) -> None:
        self.reloads.put("reloaded")
        if self.refusals:
            self.refusals -= 1
            raise QueuesChanged


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Return a project whose edits reload it; the first reload is refused."""
    created = Watched(tmp_path)
    for path in ("include/etl/sync/load.py", "include/etl/catalog/queues.py", "plugins/sluice_dag.py"):
        created.edit(path)
    stop = threading.Event()
    arguments = (tmp_path, created.reload)
    watcher = threading.Thread(
        target=watch_project, args=arguments, kwargs={"say": created.messages.put, "stop": stop}, daemon=True
    )
    watcher.start()
    assert "when a step or a plugin changes" in created.messages.get(timeout=_SECONDS)
    threading.Event().wait(0.5)
    yield created
    stop.set()
    watcher.join(timeout=_SECONDS)


def test_edited_steps_and_plugins_reload_the_stack_and_declarations_do_not(watched: Watched) -> None:
    watched.edit("include/etl/catalog/entities/accounts.py")
    watched.edit("include/etl/sync/notes.txt")
    watched.edit("include/etl/sync/load.py")
    assert watched.messages.get(timeout=_SECONDS) == "Changed: include/etl/sync/load.py."
    assert watched.reloads.get(timeout=_SECONDS) == "reloaded"
    assert watched.messages.get(timeout=_SECONDS) == str(QueuesChanged())
    watched.edit("plugins/sluice_new.py")
    assert watched.messages.get(timeout=_SECONDS) == "Changed: plugins/sluice_new.py."
    assert watched.reloads.get(timeout=_SECONDS) == "reloaded"
    assert watched.reloads.empty()
