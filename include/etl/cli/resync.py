"""`sluice resync`: read a feed again from its beginning."""

from __future__ import annotations

from typing import Annotated

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json
from etl.errors import PermanentError

_JSON = "`requested`, the ids of the accounts that the next run reads again, and `without_cursor`, those that it cannot"


class NothingToResync(PermanentError):
    """Provider accounts have no cursor that could be discarded."""

    def __init__(self, provider_account_ids: list[int]) -> None:
        super().__init__(
            f"provider accounts {', '.join(map(str, provider_account_ids))}: no feed was ever loaded, or the account "
            "does not exist; see core.provider_accounts."
        )


@examples("sluice resync 17", "sluice resync 17 42 4711", json=_JSON)
def resync(
    accounts: Annotated[
        list[int], typer.Argument(metavar="ACCOUNT", help="Provider account ids, as in core.provider_accounts.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Make the next run read all data of some provider accounts again, from the beginning of their feeds.

    Rows that the provider does not send any more become tombstones. A run does this by itself for an account whose
    cursor the provider does not accept any more.
    """
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
