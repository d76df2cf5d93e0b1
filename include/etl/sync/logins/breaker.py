"""Circuit breaker of logins: many that stop or are quarantined at once have one cause, and it is not their users.

A download that finds a login stopped only proposes to stop it. `settle` decides at the end of the run, for each error
code: if the code is systematic, no login is stopped for it, and `check_logins` fails the run with the code and what to
do, until it is resolved; else its logins need a login from then on.
"""

import logging
from collections.abc import Sequence

from etl.db.connection import Connection
from etl.declare.entity import Entity, RawOf
from etl.declare.fault import catalog_path
from etl.errors import PermanentError
from etl.sync.logins.store import logins, provider_accounts
from etl.sync.logins.store.logins import MAX_EXAMPLES, ProposedStops, QuarantinedLogins
from etl.sync.provider.authorization import REFRESH_TOKEN_LOST
from etl.sync.provider.failures import CREDENTIALS_UNUSABLE

_REMEDIES = {
    REFRESH_TOKEN_LOST: "Workers died, or lost the connection, after the provider had replaced these refresh tokens, "
    "and before the new ones were saved: only their users can give access again, by linking these logins.",
    CREDENTIALS_UNUSABLE: "The tokens or ids of these logins hold line breaks or other control characters, and cannot "
    "be sent: link them again without these.",
}
"""What to do about error codes that no provider has declared."""

_ALWAYS_TOLERATED = 20
_TOLERATED_SHARE = 0.05
_MIN_ASKED = 3
_SYSTEMATIC_SHARE = 0.5
_MIN_WAVE = 5
_WAVE_SHARE = 0.02

log = logging.getLogger(__name__)


class TooManyLoginsStopped(PermanentError):
    """The provider refuses so many logins of a run for one error code that the cause must lie elsewhere."""


class LoginsLate(PermanentError):
    """Logins were not read to their end, since their provider allows no more calls for some time."""

    def __init__(self, entity: Entity, late: int, first_ids: Sequence[int]) -> None:
        ids = " ".join(map(str, first_ids)) + (" …" if late > len(first_ids) else "")
        super().__init__(
            f"{entity.name}: {late:,} logins are late: their quota allows no more calls now ({ids}). Their rows are as "
            "of an earlier run; what was read of them is kept, and the next run continues. See `sluice plan "
            f"{entity.name}`; if they are late every day, run it less often, or ask the provider for more calls."
        )


class TooManyLoginsQuarantined(PermanentError):
    """So many logins of a run are quarantined that the provider must have changed its API."""


def is_systematic(count: int, asked: int) -> bool:
    """Return whether so many of the logins that a run has asked fail in the same way that they share a cause.

    Parameters
    ----------
    count
        Logins that fail in this way.
    asked
        Logins that the run has asked.
    """
    is_large_share = asked >= _MIN_ASKED and count >= _SYSTEMATIC_SHARE * asked
    return count > 0 and (is_large_share or count > max(_ALWAYS_TOLERATED, _TOLERATED_SHARE * asked))


def is_wave(count: int, asked: int) -> bool:
    """Return whether so many logins were stopped at once that a person should know, although the run accepted it."""
    return count >= max(_MIN_WAVE, _WAVE_SHARE * asked)


def settle(entity: Entity, run_id: str, *, db: Connection) -> None:
    """Stop the logins that a run proposes to stop, unless too many have the same error code; can be repeated.

    Logins that needed a login before and were tried in vain wait longer for the next try; they never count as stopped.
    """
    asked = logins.count_asked(db, entity=entity.name, run_id=run_id)
    proposed = logins.stops_of_run(db, entity=entity.name, run_id=run_id)
    rejected = {stops.code for stops in _systematic(proposed, asked)}
    accepted = {stops.code for stops in proposed} - rejected
    run = {"entity": entity.name, "run_id": run_id}
    provider_accounts.reject_stops(db, **run, reasons=rejected)
    stopped = provider_accounts.accept_stops(db, **run, reasons=accepted)
    provider_accounts.put_off_tries(db, **run)
    if stopped:
        log.warning("%s: run %s: %d logins need a login: %s", entity.name, run_id, stopped, sorted(accepted))
    if rejected:
        log.error(
            "%s: run %s: too many of %d logins stopped at once, so none was: %s",
            entity.name,
            run_id,
            asked,
            sorted(rejected),
        )


def check_logins(entity: Entity, run_id: str, *, db: Connection) -> None:
    """Fail a run in which too many logins stopped or are quarantined, apart from those that were mended since.

    Raises
    ------
    TooManyLoginsStopped
        With the error code, the counts, and what to do.
    TooManyLoginsQuarantined
        With the most frequent path and rule of the rejects, the counts, and what to do.
    LoginsLate
        If a login was not read to its end, since its provider allows no more calls.
    """
    if isinstance(entity.source, RawOf):
        return
    asked = logins.count_asked(db, entity=entity.name, run_id=run_id)
    proposed = logins.stops_of_run(db, entity=entity.name, run_id=run_id)
    stops = [each for each in _systematic(proposed, asked) if is_systematic(each.unresolved, asked)]
    quarantined = logins.quarantined_by_run(db, entity=entity.name, run_id=run_id)
    lines = [line for each in stops for line in _describe_stops(entity, each, asked)]
    if is_systematic(_count(quarantined), asked):
        lines += _describe_quarantined(entity, quarantined, asked)
    if stops:
        raise TooManyLoginsStopped("\n".join(lines))
    if lines:
        raise TooManyLoginsQuarantined("\n".join(lines))
    late, first_ids = logins.starved_by_run(db, entity=entity.name, run_id=run_id)
    if late:
        raise LoginsLate(entity, late, first_ids)


def _systematic(proposed: Sequence[ProposedStops], asked: int) -> list[ProposedStops]:
    return [stops for stops in proposed if is_systematic(stops.logins, asked)]


def _describe_stops(entity: Entity, stops: ProposedStops, asked: int) -> list[str]:
    found = f"{entity.provider.name} answered {stops.code} for {stops.unresolved:,} of {asked:,} logins"
    remedy = _REMEDIES.get(stops.code) or entity.provider.remedy(stops.code)
    remedy = remedy or f"See what {stops.code} means in the provider's documentation."
    ids, others = _name_first(stops.first_ids, stops.unresolved)
    by_hand = f"If their users must link them again after all: `sluice logins stop --retry {ids}`{others}."
    return [
        f"{found}: too many to be their users' doing, so none was stopped.",
        remedy,
        f"The next run asks them again. {by_hand}",
    ]


def _describe_quarantined(entity: Entity, quarantined: Sequence[QuarantinedLogins], asked: int) -> list[str]:
    common, count = quarantined[0], _count(quarantined)
    found = f"{count:,} of {asked:,} logins are quarantined, {common.logins:,} of them"
    ids, others = _name_first(sorted(id_ for each in quarantined for id_ in each.first_ids)[:MAX_EXAMPLES], count)
    if not common.path:
        return [
            f"{found} since their pages killed the process.",
            "See the memory cap in the logs of the killed tasks, and whether one of their pages is the same for all.",
            f"The next run reads them again. What is known of each: `sluice quarantine list --entity {entity.name}`.",
        ]
    file = catalog_path(f"entities/{entity.name}.py")
    return [
        f"{found} mostly by {common.rule} at {common.path}: {entity.provider.name} has probably changed its API.",
        f"See `sluice rejects list --entity {entity.name}` and fix {file}: the next run reads these logins again.",
        f"Or load only their valid records: `sluice quarantine accept {ids} --entity {entity.name}`{others}.",
    ]


def _name_first(first_ids: Sequence[int], count: int) -> tuple[str, str]:
    """Return the ids of a command, and what to say behind it of the logins that it does not name."""
    others = count - len(first_ids)
    return " ".join(map(str, first_ids)), f", and so on for {others:,} more" if others else ""


def _count(quarantined: Sequence[QuarantinedLogins]) -> int:
    return sum(each.logins for each in quarantined)
