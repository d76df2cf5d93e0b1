"""`sluice link`: enrol a user's login at a bank."""

from typing import Annotated

import typer

from etl.catalog.providers.plaid import PLAID
from etl.cli.help import examples
from etl.settings import Endpoint, Settings


@examples("sluice link --public-token public-sandbox-… --user 4711")
def link(
    public_token: Annotated[str, typer.Option(help="The public token that Plaid Link gave the application.")],
    user: Annotated[str, typer.Option(help="The user's id in the application.")],
) -> None:
    """Enrol a user's login at a bank, and print its provider account id; the access token is stored encrypted."""
    from etl.clients import rate_limits
    from etl.db.connection import connect_warehouse
    from etl.sync.link import enrol_login
    from etl.sync.store.token_cipher import TokenCipher

    with connect_warehouse() as db:
        provider_account_id = enrol_login(
            PLAID,
            public_token,
            user=user,
            db=db,
            cipher=TokenCipher(Settings.from_environment().keys),
            endpoint=Endpoint.from_environment(PLAID.connection),
            limiter=rate_limits.connect(Endpoint.from_environment("limits")),
        )
    typer.echo(f"provider account {provider_account_id}")
