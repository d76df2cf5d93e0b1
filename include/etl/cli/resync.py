"""`python -m etl resync`: read a feed again from its beginning."""

from typing import Annotated

import typer

from etl.catalog.entities import ENTITIES
from etl.errors import PermanentError


class NothingToResync(PermanentError):
    """Accounts have no cursor that could be left behind."""

    def __init__(self, provider_account_ids: list[int]) -> None:
        super().__init__(
            f"provider accounts {', '.join(map(str, provider_account_ids))}: no feed was ever loaded, or there is no "
            "such account; see core.provider_accounts."
        )


def resync(
    accounts: Annotated[list[int], typer.Argument(help="Provider account ids, as in core.provider_accounts.")],
) -> None:
    """Let the next run read everything again that the provider has of some accounts.

    Rows that it does not tell of any more become tombstones. A run does so by itself for an account whose cursor leads
    nowhere.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.store import cursors

    feeds = [entity.feed_name for entity in ENTITIES if entity.feed_name]
    with connect_warehouse() as db:
        marked = set(cursors.request_full_read(db, accounts, feeds=feeds))
    unknown = [account for account in accounts if account not in marked]
    if marked:
        typer.echo(f"{len(marked):,} accounts are read from the beginning by the next run")
    if unknown:
        raise NothingToResync(unknown)
