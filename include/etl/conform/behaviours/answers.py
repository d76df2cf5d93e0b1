"""Behaviours of single answers: errors, waits, logins that need a login, and bodies that are no page."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from etl.conform import edits, shape
from etl.conform.banks import Asked
from etl.conform.documented import LOGIN_NEEDED, RATE_LIMITED
from etl.conform.play import Play, answer_always, answer_once, page_of
from etl.conform.reel import Page
from etl.conform.server import Answer
from etl.conform.verdict import NotApplicable, Wrong
from etl.declare.provider import ErrorAction
from etl.declare.source import Feed
from etl.sync.logins.breaker import LoginsLate

_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 503
_UNKNOWN_STATUS = 418
_SHORT_WAIT = 2
"""Seconds that a header asks to wait: longer than the wait before the first retry where nothing asks for one."""
_LONG_WAIT = 7200
"""Seconds for which no task waits."""
_TOLERANCE = 0.05
"""Seconds by which a wait may be shorter, by the clock of another process."""


def rate_limited(play: Play) -> str:
    """Refuse calls as too many, without saying how long to wait."""
    play.intercept(answer_once(_refusal(play, {}), index=_middle(play)))
    play.run()
    play.require_neighbours()
    play.require_in_this_run()
    return "the call was repeated, and the login was loaded in the same run"


def _refuse_first_call(play: Play, refusal: Answer, _: Asked) -> Answer | None:
    return refusal if len(play.calls) == 1 else None


def rate_limited_with_wait(play: Play) -> str:
    """Refuse calls as too many, with each header that says how long to wait, in a run of its own."""
    names = ("Retry-After", *play.entity.provider.wait_headers)
    for name in names:
        play.intercept(partial(_refuse_first_call, play, _refusal(play, {name: str(_SHORT_WAIT)})))
        play.run()
        play.require_in_this_run()
        if len(play.calls) == 1:
            raise Wrong(f"a page that was refused with {name} was not asked for again")
        waited = play.calls[1].at - play.calls[0].at
        if waited < _SHORT_WAIT - _TOLERANCE:
            raise Wrong(f"{name}: {_SHORT_WAIT} asked for {_SHORT_WAIT} s, and the next call came after {waited:.1f} s")
    return f"the wait of {', '.join(names)} was kept"


def told_to_wait_for_hours(play: Play) -> str:
    """Tell one login to wait for two hours."""
    play.require_neighbour()
    play.intercept(answer_always(_refusal(play, {"Retry-After": str(_LONG_WAIT)})))
    play.run()
    play.require_neighbours()
    reason = play.require_visible()
    return f"the login was left out as {reason}; all was loaded by {play.settle()}"


def quota_used_up(play: Play) -> str:
    """Allow one call of its quota to each login, and none after it."""
    if play.quota is None:
        raise NotApplicable("it declares no quota")
    unlimited, source = play.entity, play.source
    play.steps.entity = replace(unlimited, source=replace(source, quota=replace(play.quota, calls=1)))
    play.run()
    if len(play.pages) == 1:
        play.require_in_this_run()
        play.run()
    reason = play.require_visible()
    if not any(isinstance(error, LoginsLate) for error in play.steps.errors):
        raise Wrong(f"the login was left out as {reason}, and the run did not fail for it")
    play.steps.entity = unlimited
    return f"the login was left out as {reason}, and the run failed for it; all was loaded by {play.settle()}"


def server_error(play: Play) -> str:
    """Answer a page with 503 and the page of a proxy, once."""
    answer = Answer(_SERVER_ERROR, b"<html>Service Unavailable</html>", {"Content-Type": "text/html"})
    play.intercept(answer_once(answer, index=_middle(play)))
    play.run()
    play.require_neighbours()
    play.require_in_this_run()
    return "the call was repeated, and the login was loaded in the same run"


def login_needed(play: Play) -> str:
    """Say in the middle of a read that the user must log in again, until the user does."""
    index = _middle(play)
    errors = play.errors(LOGIN_NEEDED, ErrorAction.STOP_ACCOUNT)
    if not errors:
        raise Wrong(
            "no error rule stops a login, so that one whose user must log in again is asked in every run, and its user "
            "never learns of it"
        )
    for error in errors:
        # The feed goes on from its end after the first.
        play.intercept(answer_always(error, since=0 if play.steps.runs else index))
        play.run()
        play.require_neighbours()
        play.require_state("needs_login")
        play.repair_login()
        settled = play.settle()
    return f"the login needed a login; once it was repaired, all was loaded by {settled}"


def unknown_error(play: Play) -> str:
    """Answer a page with an error that no rule knows, in one run."""
    play.require_neighbour()
    answer = Answer(_UNKNOWN_STATUS, b'{"conform": "an error that nobody declared"}')
    play.intercept(answer_always(answer, since=_middle(play)))
    play.run()
    play.require_neighbours()
    reason = play.require_visible()
    return f"the login was left out as {reason}; all was loaded by {play.settle()}"


def no_page(play: Play) -> str:
    """Answer with an empty body, half a body, half a document, and a page of HTML, each in a run of its own."""
    page = play.bank.page(play.victim, _middle(play))
    answers = {
        "an empty body": Answer(200, b""),
        "half a body": Answer(200, page.body, page.headers, is_cut=True),
        "half a document": Answer(200, page.body[: len(page.body) // 2], page.headers),
        "HTML": Answer(200, b"<html>Please log in</html>", {"Content-Type": "text/html"}),
    }
    for name, answer in answers.items():
        play.intercept(answer_always(answer, since=_middle(play)))
        play.run()
        play.require_neighbours()
        if not play.left_out.get(play.victim_id):
            raise Wrong(f"{name} in place of a page was taken for one")
    return f"the login was left out each time; all was loaded by {play.settle()}"


def empty_list(play: Play) -> str:
    """Answer without any record: a feed as if it was not ready, a list after all records were loaded."""
    if not edits.records(play.source, play.original, play.victim):
        raise NotApplicable("it has no record")
    empty = play.original.copy()
    for page in empty.logins[play.victim]:
        shape.empty_lists(play.source, page.document)
    first = empty.logins[play.victim][0]
    if isinstance(play.source, Feed):
        play.intercept(answer_always(page_of(edits.lead_to(play.source, first, ""))))
        play.run()
        play.require_neighbours()
        reason = play.require_visible()
        return f"the login was left out as {reason}; all was loaded by {play.settle()}"
    play.run()
    play.require_in_this_run()
    edits.set_total(play.source, empty, play.victim, 0)
    empty.logins[play.victim] = [Page(first.position, first.document)]
    play.calm(empty)
    play.run()
    play.require_neighbours()
    ended = "no row ended meanwhile" if play.count_live() else "its rows ended meanwhile"
    return f"{ended}; all was loaded by {play.settle(play.original)}"


def _middle(play: Play) -> int:
    """Return the index of a page after the first, if there is one."""
    return 1 if len(play.pages) > 1 else 0


def _refusal(play: Play, headers: dict[str, str]) -> Answer:
    """Return a refusal of a call as too many, as it is documented, or as the error rules have it."""
    for documented in play.documented.get(RATE_LIMITED, ()):
        return replace(documented, headers={**documented.headers, **headers})
    for rule in play.entity.provider.errors:
        if rule.action is ErrorAction.RETRY and rule.code and rule.status in (None, _TOO_MANY_REQUESTS):
            _, body = shape.answer_of(play.entity.provider, rule)
            return Answer(_TOO_MANY_REQUESTS, body, headers)
    return Answer(_TOO_MANY_REQUESTS, b"{}", headers)
