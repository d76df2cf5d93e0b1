"""Report of a run: what it loaded, which logins stop, and warnings about skipped logins and expiring cursors."""

import logging
from collections import Counter

from etl.db.connection import Connection
from etl.db.tables import empty_columns
from etl.declare.entity import Entity, RawOf
from etl.declare.source import Feed
from etl.sync.logins import breaker
from etl.sync.logins.store import logins, provider_accounts
from etl.sync.logins.store.login_state import LoginState
from etl.sync.logins.store.logins import MAX_EXAMPLES
from etl.sync.store import chunks, cursors, field_warnings, loads, reconciliations

_MAX_REASONS = 10
_EXPIRY_WARNING_SHARE = 11 / 12
"""Share of a cursor's lifetime after which the report warns of it."""

log = logging.getLogger(__name__)


def report(entity: Entity, run_id: str, *, db: Connection) -> dict[str, int]:
    """Settle which logins stop, and log and return the totals of a run; can be repeated.

    Returns
    -------
    dict
        As `totals`, with the logins that a load has left out (`accounts_quarantined`, `accounts_stale`), and those of
        which a response lacks records, as it says itself (`accounts_incomplete`): they are also in `accounts_drained`.
        Where the run calls a provider, all logins of the provider as `logins_<state>`, and those that need a
        login also as `logins_needs_login_<error code>`, for the most frequent codes. After the first run of an entity,
        `columns_without_values` counts the optional columns that are null in every row.
    """
    if not isinstance(entity.source, RawOf):
        breaker.settle(entity, run_id, db=db)
        _end_consents(entity, db=db)
    left_out = {
        f"accounts_{outcome}": count
        for outcome, count in chunks.left_out_by_outcome(db, entity=entity.name, run_id=run_id).items()
    }
    incomplete = chunks.count_incomplete(db, entity=entity.name, run_id=run_id)
    gaps = {"accounts_incomplete": incomplete} if incomplete else {}
    is_first = not loads.had_loaded(db, entity=entity.name, run_id=run_id)
    empty = empty_columns.find(db, entity) if is_first else None
    unfilled = {"columns_without_values": len(empty.columns)} if empty else {}
    counts = {**totals(entity, run_id, db=db), **left_out, **gaps, **_login_counts(entity, db=db), **unfilled}
    log.info("%s: run %s: %s", entity.name, run_id, counts)
    if counts["chunks_loaded"] < counts["chunks"]:
        log.error(
            "%s: run %s: %d of %d chunks were not loaded; no data is lost, and the next run catches up",
            entity.name,
            run_id,
            counts["chunks"] - counts["chunks_loaded"],
            counts["chunks"],
        )
    if incomplete:
        log.warning(
            "%s: run %s: the provider says that it lacks records of %d logins, see etl.gaps",
            entity.name,
            run_id,
            incomplete,
        )
        _warn_of_gaps(entity, run_id, db=db)
    if empty:
        log.warning("%s: run %s: %s", entity.name, run_id, empty)
    if left_out:
        log.warning("%s: run %s left out logins, see etl.left_out: %s", entity.name, run_id, left_out)
    for reconciliation in reconciliations.of_run(db, entity=entity.name, run_id=run_id):
        log.warning("%s; see `sluice resync --show`", reconciliation)
    _warn_of_expiring_cursors(entity, db=db)
    return counts


def _login_counts(entity: Entity, *, db: Connection) -> dict[str, int]:
    if isinstance(entity.source, RawOf):
        return {}
    by_state: Counter[str] = Counter()
    if (consent := entity.provider.consent) is not None:
        by_state["logins_consent_expiring"], _ = provider_accounts.count_expiring_consents(
            db, provider=entity.provider.name, foretold=consent.foretold
        )
    by_reason: dict[str, int] = {}
    for each in logins.count_by_state(db, provider=entity.provider.name):
        by_state[f"logins_{each.state}"] += each.logins
        if each.state == LoginState.NEEDS_LOGIN and each.reason and len(by_reason) < _MAX_REASONS:
            by_reason[f"logins_{each.state}_{each.reason}"] = each.logins
    return {**by_state, **by_reason}


def _end_consents(entity: Entity, *, db: Connection) -> None:
    """Stop logins whose consent has ended, and foretell the end of others."""
    provider = entity.provider
    if provider.consent is None:
        return
    if ended := provider_accounts.end_consents(db, provider=provider.name):
        log.warning(
            "%s: the consents of %d logins have ended; their users must log in again", provider.name, len(ended)
        )
    expiring, first_at = provider_accounts.count_expiring_consents(
        db, provider=provider.name, foretold=provider.consent.foretold
    )
    if expiring and first_at is not None:
        log.warning(
            "%s: the consents of %d logins end within %d days, the first on %s; ask their users to consent again, see "
            "consent_expires_at in core.provider_accounts",
            provider.name,
            expiring,
            provider.consent.foretold.days,
            first_at.date(),
        )


def _warn_of_gaps(entity: Entity, run_id: str, *, db: Connection) -> None:
    """Show what the provider says that its responses lack, of the first logins."""
    for provider_account_id, part, reason in chunks.gaps_of_run(
        db, entity=entity.name, run_id=run_id, limit=MAX_EXAMPLES
    ):
        log.warning(
            "%s: provider account %d: %s lacks records: %s; its rows stay as they are",
            entity.name,
            provider_account_id,
            part or "the response",
            reason,
        )


def _warn_of_expiring_cursors(entity: Entity, *, db: Connection) -> None:
    if not isinstance(entity.source, Feed) or entity.source.cursor_life is None:
        return
    feed, lifetime = entity.source.name, entity.source.cursor_life
    min_age = lifetime * _EXPIRY_WARNING_SHARE
    expiring = cursors.find_expiring(db, feed=feed, min_age=min_age, examples=MAX_EXAMPLES)
    if expiring.cursors:
        log.warning(
            "%s: %d cursors of %s have not moved for %d days, and the provider forgets them after %d; "
            "`sluice resync %s`%s lets the next run read these logins from the beginning, which keeps their rows",
            entity.name,
            expiring.cursors,
            feed,
            min_age.days,
            lifetime.days,
            " ".join(map(str, expiring.first_ids)),
            ", and so on," if expiring.cursors > len(expiring.first_ids) else "",
        )


def totals(entity: Entity, run_id: str, *, db: Connection) -> dict[str, int]:
    """Return the totals of a run so far.

    Returns
    -------
    dict
        `chunks`, `chunks_loaded`, the sums of `etl.sync.store.loads.LoadCounts`, `field_warnings` (bad fields of loaded
        records), and, where the run calls a provider, its accounts by outcome as `accounts_<outcome>`.
    """
    query_totals = chunks.totals_of_raw_batches if isinstance(entity.source, RawOf) else chunks.totals
    sums = query_totals(db, entity=entity.name, run_id=run_id, version=entity.version)
    return {**sums, "field_warnings": field_warnings.count_of_run(db, entity=entity.name, run_id=run_id)}
