"""Enrolment of a user's login at a bank as a provider account."""

import asyncio
import logging

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.provider import Provider
from etl.errors import TransientError
from etl.settings import Endpoint
from etl.sync.provider.client import ProviderCallFailed, open_client
from etl.sync.provider.enrolment import GrantedItem, exchange_public_token
from etl.sync.store import provider_accounts
from etl.sync.store.token_cipher import TokenCipher

log = logging.getLogger(__name__)


class EnrolmentFailed(TransientError):
    """A provider returned no access token; a retry may succeed."""

    def __init__(self, provider: str, detail: str) -> None:
        super().__init__(f"{provider} returned no access token: {detail}; try again while the public token is valid.")


def enrol_login(
    provider: Provider,
    public_token: str,
    *,
    user: str,
    db: Connection,
    cipher: TokenCipher,
    endpoint: Endpoint,
    limiter: Limiter,
) -> int:
    """Exchange a public token, store the access token encrypted, and return the provider account id.

    Parameters
    ----------
    user
        The user's id in the application that Sluice serves.

    Raises
    ------
    EnrolmentFailed
        If the provider could not be reached.
    ProviderRefused
        If the provider rejects the token.
    ItemOfOtherUser
        If the login is enrolled for another user.
    """

    async def exchange() -> GrantedItem:
        async with open_client(provider, endpoint, limiter) as client:
            try:
                return await exchange_public_token(client, public_token)
            except ProviderCallFailed as failure:
                raise EnrolmentFailed(provider.name, failure.code) from None

    item = asyncio.run(exchange())
    provider_account_id = provider_accounts.enrol(
        db,
        cipher,
        provider=provider.name,
        user=user,
        item_id=item.item_id,
        access_token=item.access_token,
    )
    log.info("%s: enrolled provider account %d", provider.name, provider_account_id)
    return provider_account_id
