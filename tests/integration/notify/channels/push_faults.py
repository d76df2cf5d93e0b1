"""What a push server does wrong on a bad night; for the stand-ins of Firebase and of push services."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from aiohttp import web


@dataclass
class PushFaults:
    """Which messages a push server refuses; it depends on the seed and the target only, not on their order.

    Parameters
    ----------
    seed
        Chooses the targets.
    share
        Share of the targets that are refused.
    status, retry_after
        Refusal of such a message, and its header `Retry-After`; a status of 0 answers nothing.
    tries
        How often such a target is refused before it is served; None for always.
    refuse
        Builds the response of a status; a plain one by default.
    silence
        Seconds after which a message that is not answered is dropped.
    refusals
        Status → how often it was given.
    """

    seed: int = 0
    share: float = 1.0
    status: int = 503
    retry_after: str = ""
    tries: int | None = 1
    refuse: Callable[[int, str], web.Response] | None = None
    silence: float = 60.0
    refusals: Counter[int] = field(default_factory=Counter)
    _tries: Counter[str] = field(default_factory=Counter)

    async def strike(self, target: str) -> web.Response | None:
        """Return the refusal of a message to a target; None if it is served."""
        if Random(f"{self.seed}/{target}").random() >= self.share:
            return None
        self._tries[target] += 1
        if self.tries is not None and self._tries[target] > self.tries:
            return None
        self.refusals[self.status] += 1
        if not self.status:
            await asyncio.sleep(self.silence)
            return web.Response(status=503)
        if self.refuse is not None:
            return self.refuse(self.status, self.retry_after)
        headers = {"Retry-After": self.retry_after} if self.retry_after else None
        return web.Response(status=self.status, headers=headers)
