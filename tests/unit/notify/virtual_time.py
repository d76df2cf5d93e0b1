"""An event loop whose time passes only when every task waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For tests without sockets: `time` jumps to the next timer, so that no test sleeps."""

    _now = 0.0
    _ready: Any
    _scheduled: Any

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self._now = max(self._now, self._scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


def run(main: Callable[[VirtualTimeLoop], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine, which gets the loop as its clock."""
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()
