"""`sluice resync`: read a feed again from its beginning, and decide about the rows that it does not contain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.arguments import require_limit
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_line
from etl.errors import PermanentError
from etl.settings import Settings

if TYPE_CHECKING:
    from etl.sync.store.reconciliations import Reconciliation

_RECONCILIATION = (
    "`raw_id` (the batch of the read), `entity`, `provider_account_id`, `state` (`pending`, `applied`, `approved` or "
    "`revoked`), `live` (rows before), `absent` (of them, those that the read lacks), `skipped` (what was not "
    "reconciled, and why, or null), `reconciled_at` and `decided_at`"
)
_JSON = (
    "`requested`, the ids of the accounts that the next run reads again, and `without_cursor`, those that it cannot; "
    f"with --show, --approve or --revoke `reconciliations`, a list of objects with {_RECONCILIATION}"
)


class NothingToResync(PermanentError):
    """Provider accounts have no cursor that could be discarded."""

    def __init__(self, provider_account_ids: list[int]) -> None:
        super().__init__(
            f"provider accounts {', '.join(map(str, provider_account_ids))}: no feed was ever loaded, or the account "
            "does not exist; see core.provider_accounts."
        )


@examples("sluice resync 17", "sluice resync --show", "sluice resync --approve 17 42", json=_JSON)
def resync(
    accounts: Annotated[
        list[int] | None, typer.Argument(metavar="LOGIN", help="Provider account ids, as in core.provider_accounts.")
    ] = None,
    *,
    show: Annotated[
        bool, typer.Option("--show", help="Show what became of the rows that the latest full reads did not contain.")
    ] = False,
    approve: Annotated[
        bool, typer.Option("--approve", help="End the rows of these accounts that wait for approval.")
    ] = False,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Bring back the rows of these accounts that ended so, or keep them.")
    ] = False,
    limit: Annotated[
        int, typer.Option(metavar="N", help="Maximum number of accounts to show.", callback=require_limit)
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Make the next run read all data of some provider accounts again, from the beginning of their feeds.

    Rows that the provider does not send any more become tombstones, as far as it promised to send them. If many rows of
    an account are missing, none ends before you approve it. A run reads an account again by itself if the provider does
    not accept its cursor any more.
    """
    if show + approve + revoke > 1:
        raise typer.BadParameter("--show, --approve and --revoke exclude each other")
    if show == bool(accounts):
        raise typer.BadParameter("--show takes no accounts" if show else "say which accounts")
    if show:
        _print_reconciliations(_show(limit), as_json=as_json, empty="No feed was read again from its beginning.")
    elif approve or revoke:
        decided = _decide(accounts or [], is_approved=approve)
        _print_reconciliations(decided, as_json=as_json, empty="")
    else:
        _request(accounts or [], as_json=as_json)


def _request(accounts: list[int], *, as_json: bool) -> None:
    """Request a full read of each account that has a cursor."""
    from etl.db.connection import connect_warehouse
    from etl.sync.store import cursors

    feeds = [entity.feed_name for entity in ENTITIES if entity.feed_name]
    with connect_warehouse() as db:
        requested = sorted(set(cursors.request_full_read(db, accounts, feeds=feeds)))
    without_cursor = [account for account in accounts if account not in requested]
    if as_json:
        print_json({"requested": requested, "without_cursor": without_cursor})
    elif requested:
        typer.echo(f"the next run reads {len(requested):,} accounts from the beginning")
    if without_cursor:
        raise NothingToResync(without_cursor)


def _show(limit: int) -> list[Reconciliation]:
    from etl.db.connection import connect_warehouse
    from etl.sync.store import reconciliations

    with connect_warehouse() as db:
        return reconciliations.latest(db, limit=limit)


def _decide(accounts: list[int], *, is_approved: bool) -> list[Reconciliation]:
    """Approve or revoke the latest reconciliations of some accounts, and return them as they are now."""
    from dataclasses import replace

    from upath import UPath

    from etl.db.connection import connect_warehouse
    from etl.sync import resync as decisions

    entities = {entity.name: entity for entity in ENTITIES}
    root = UPath(Settings.from_environment().raw_root)
    with connect_warehouse() as db:
        if is_approved:
            approved = decisions.approve(accounts, entities=entities, db=db, root=root)
            return [replace(each, state="approved") for each in approved]
        revoked = decisions.revoke(accounts, entities=entities, db=db, root=root)
        return [replace(each, state="revoked") for each in revoked]


def _print_reconciliations(found: list[Reconciliation], *, as_json: bool, empty: str) -> None:
    if as_json:
        print_json({"reconciliations": found})
        return
    for each in found:
        print_line(str(each))
    if not found and empty:
        typer.echo(empty)
