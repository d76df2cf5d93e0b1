"""The behaviours that are played, each with where to look in a declaration that does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from etl.conform import documented
from etl.conform.behaviours import answers, deaths, paging, records
from etl.conform.play import Play


@dataclass(frozen=True)
class Behaviour:
    """A behaviour of a provider, or of the machine that reads it.

    Parameters
    ----------
    name
        Its name, as it is printed.
    act
        Plays it, and returns what the declaration made of it.
    remedy
        Which field of the declaration to look at if it does not hold.
    retries
        Retries of a request in it: those that end in one run need one.
    """

    name: str
    act: Callable[[Play], str]
    remedy: str
    retries: int = 0

    @property
    def summary(self) -> str:
        """What happens in it, as a sentence."""
        return (self.act.__doc__ or "").strip().splitlines()[0]


_PAGING = "see `cursor` and `more` of a Feed, and `paging` of a list"
_ERRORS = "see `errors` of the provider"
_SOFTWARE = "the declaration cannot cause this: report it as a fault of Sluice, with a recording"

BEHAVIOURS = (
    Behaviour(
        documented.CHANGED,
        paging.changed_while_read,
        "see `errors` of the provider: ErrorRule(ErrorAction.RESTART_FEED, …) for what it answers then; of a list, see "
        "`paging`",
    ),
    Behaviour(
        "record removed",
        paging.removed,
        "see `deletes` of the feed, and `key`; of recent days `dated_by` and `account`",
    ),
    Behaviour("removed before added", paging.removed_before_added, "see `deletes` of the feed, and `key`"),
    Behaviour("repeated page", paging.repeated_page, _PAGING),
    Behaviour("cursor goes back", paging.cursor_goes_back, _PAGING),
    Behaviour("endless pages", paging.endless, _PAGING),
    Behaviour("duplicate record", paging.duplicate, "see `key` of the entity"),
    Behaviour(documented.RATE_LIMITED, answers.rate_limited, _ERRORS, retries=1),
    Behaviour(
        "rate limited, with a wait",
        answers.rate_limited_with_wait,
        "see `wait_headers` of the provider",
        retries=1,
    ),
    Behaviour("told to wait for hours", answers.told_to_wait_for_hours, _ERRORS),
    Behaviour("quota used up", answers.quota_used_up, "see `quota` of the source"),
    Behaviour("server error", answers.server_error, _ERRORS, retries=1),
    Behaviour(
        documented.LOGIN_NEEDED,
        answers.login_needed,
        "see `errors` of the provider: ErrorRule(ErrorAction.STOP_ACCOUNT, …) for what it answers then",
    ),
    Behaviour("unknown error", answers.unknown_error, _ERRORS),
    Behaviour("no page", answers.no_page, "see `upserts` and `optional` of the source"),
    Behaviour("empty list", answers.empty_list, "see `paging` of the source"),
    Behaviour("changed type", records.changed_type, "see `kind` and `required` of the column"),
    Behaviour("changed type in all", records.all_changed_type, "see `tolerated_rejects` of the entity"),
    Behaviour("required field vanished", records.vanished_required, "see `required` of the column"),
    Behaviour("optional field vanished", records.vanished_optional, "see `required` of the column"),
    Behaviour("killed in download", deaths.killed_download, _SOFTWARE),
    Behaviour("killed in store_raw", deaths.killed_store_raw, _SOFTWARE),
    Behaviour("killed in transform", deaths.killed_transform, _SOFTWARE),
    Behaviour("killed in load", deaths.killed_load, _SOFTWARE),
    Behaviour("each step twice", deaths.repeated_steps, _SOFTWARE),
    Behaviour("batch loaded late", deaths.zombie, _SOFTWARE),
)
