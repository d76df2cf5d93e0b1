"""`sluice link`: enrol a user's login at a bank."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.help import examples
from etl.declare import fault
from etl.declare.source import Feed
from etl.settings import Endpoint, Settings

_MAX_HISTORY_DAYS = 36_600


@examples(
    "sluice link --public-token public-sandbox-… --user 4711",
    "sluice link --public-token public-… --user 4711 --history-days 90",
)
def link(
    public_token: Annotated[str, typer.Option(help="The public token that Plaid Link gave the application.")],
    user: Annotated[str, typer.Option(help="The user's id in the application.")],
    *,
    history_days: Annotated[
        int | None,
        typer.Option(
            help="Days of history that the application requested at Link (days_requested); by default those that the "
            "provider declares.",
            min=1,
            max=_MAX_HISTORY_DAYS,
        ),
    ] = None,
) -> None:
    """Enrol a user's login at a bank, and print its provider account id; the access token is stored encrypted.

    A login that needs a login, or was suspended, unlinked or replaced, becomes active again. Earlier logins of the
    user at the same bank are replaced if they have accounts in common with it, so that their money counts once;
    `sluice logins restore` undoes it.
    """
    with fault.explained():
        from etl.catalog.entities.accounts import ACCOUNTS
        from etl.catalog.providers.plaid import PLAID
    from etl.clients import rate_limits
    from etl.db.connection import connect_warehouse
    from etl.sync.logins.link import enrol_login
    from etl.sync.logins.store import provider_accounts, replaced_accounts
    from etl.sync.logins.store.token_cipher import TokenCipher

    with connect_warehouse() as db:
        provider_account_id = enrol_login(
            PLAID,
            public_token,
            user=user,
            db=db,
            cipher=TokenCipher(Settings.from_environment().keys),
            endpoint=Endpoint.from_environment(PLAID.connection),
            limiter=rate_limits.connect(Endpoint.from_environment("limits")),
            history=timedelta(days=history_days) if history_days else _promised_history(PLAID.name),
            accounts=ACCOUNTS,
        )
        if history_days:
            provider_accounts.set_history_days(db, provider_account_id, history_days)
        earlier = replaced_accounts.replaced_by(db, provider_account_id)
    typer.echo(f"provider account {provider_account_id}")
    if earlier:
        logins = " ".join(map(str, earlier))
        typer.echo(f"It replaces login {logins} of the same accounts; `sluice logins restore {logins}` undoes it.")


def _promised_history(provider: str) -> timedelta | None:
    """Return the shortest history that a feed of the provider promises; None if none promises any."""
    feeds = [entity.source for entity in ENTITIES if entity.provider.name == provider]
    return min((feed.history for feed in feeds if isinstance(feed, Feed) and feed.history), default=None)
