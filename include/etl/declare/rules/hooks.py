"""Hooks: functions that change a frame."""

from __future__ import annotations

from inspect import signature


def takes_a_frame(hook: object) -> bool:
    """Return whether a hook can be called with a frame."""
    if not callable(hook):
        return False
    try:
        signature(hook).bind(None)
    except TypeError:
        return False
    return True
