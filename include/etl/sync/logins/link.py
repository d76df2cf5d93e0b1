"""Enrolment of a user's login at a bank as a provider account, and the end of it."""

import asyncio
import logging
from datetime import timedelta

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.declare.provider import Provider
from etl.errors import PermanentError, ProviderRefused, TransientError
from etl.settings import Endpoint
from etl.sync.logins import relink
from etl.sync.logins.store import logins, provider_accounts
from etl.sync.logins.store.login_state import LoginState
from etl.sync.logins.store.logins import LinkedLogin
from etl.sync.logins.store.replaced_accounts import LinkedAccount
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.provider.client import ProviderCallFailed, open_client
from etl.sync.provider.enrolment import (
    GrantedItem,
    exchange_public_token,
    find_institution,
    give_up_access,
)

INSTITUTION_TIMEOUT = timedelta(seconds=10)
"""Longest time to ask for the bank of a new login, with all retries."""

log = logging.getLogger(__name__)


class EnrolmentFailed(TransientError):
    """A provider returned no access token; a retry may succeed."""

    def __init__(self, provider: str, detail: str) -> None:
        super().__init__(f"{provider} returned no access token: {detail}; try again while the public token is valid.")


class UnlinkFailed(PermanentError):
    """A provider did not give up the access to a login."""

    def __init__(self, provider: str, provider_account_id: int, detail: str) -> None:
        super().__init__(
            f"login {provider_account_id}: {provider} did not unlink it: {detail}; it keeps its token. Try again, or "
            f"stop it with `sluice logins stop {provider_account_id}`."
        )


class LinkedMeanwhile(PermanentError):
    """A login was linked again while it was being unlinked."""

    def __init__(self, provider_account_id: int) -> None:
        super().__init__(
            f"login {provider_account_id} was linked again while it was being unlinked, and keeps its new token; "
            "unlink it again if that is what you want."
        )


def enrol_login(
    provider: Provider,
    public_token: str,
    *,
    user: str,
    db: Connection,
    cipher: TokenCipher,
    endpoint: Endpoint,
    limiter: Limiter,
    history: timedelta | None = None,
    accounts: Entity | None = None,
) -> int:
    """Exchange a public token, store the access token encrypted, and return the provider account id.

    The login is stored before its bank is asked for, so that no token is lost; if the provider does not tell, the login
    is linked without its bank. Earlier logins of the user at the same bank are replaced if later ones have all their
    open accounts; of one that has others, only the accounts that are the same. If the provider does not list its
    accounts now, that is found when they are first loaded. An earlier login that is linked again replaces those that
    had replaced it.

    Parameters
    ----------
    user
        The user's id in the application that Sluice serves.
    history
        How far back the provider promises to send records of a new login; None if unknown.
    accounts
        The entity whose snapshot lists the accounts of a login; None to replace no earlier login.

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

    async def ask_for_institution() -> list[LinkedAccount]:
        async with (
            open_client(provider, endpoint, limiter) as client,
            asyncio.timeout(INSTITUTION_TIMEOUT.total_seconds()),
        ):
            institution = await find_institution(client, item.access_token)
            # At once, so that it is known even if the accounts are not.
            provider_accounts.set_institution(
                db, provider_account_id, institution_id=institution.institution_id, institution_name=institution.name
            )
            if accounts is None:
                return []
            return await relink.read_accounts(
                client, accounts, provider_account_id=provider_account_id, access_token=item.access_token
            )

    item = asyncio.run(exchange())
    provider_account_id = provider_accounts.enrol(
        db,
        cipher,
        provider=provider.name,
        user=user,
        item_id=item.item_id,
        access_token=item.access_token,
        history_days=None if history is None else history.days,
    )
    try:
        relink.replace_earlier_logins(asyncio.run(ask_for_institution()), db=db)
    except (ProviderCallFailed, ProviderRefused, TimeoutError) as error:
        log.warning(
            "%s: the bank or the accounts of provider account %d are not known yet: %s; if its user linked the same "
            "accounts before, their money may count twice until its accounts and then its transactions are loaded",
            provider.name,
            provider_account_id,
            str(error) or type(error).__name__,
        )
    log.info("%s: enrolled provider account %d", provider.name, provider_account_id)
    return provider_account_id


def unlink_login(
    provider: Provider,
    login: LinkedLogin,
    *,
    reason: str | None,
    db: Connection,
    cipher: TokenCipher,
    endpoint: Endpoint,
    limiter: Limiter,
) -> None:
    """Make the provider give up the access to a login, and delete its token; do nothing if that was done before.

    A login that the provider has no more is unlinked as well, so that an interrupted call can be repeated.

    Raises
    ------
    UnlinkFailed
        If the provider could not be reached, or refused; nothing was changed.
    LinkedMeanwhile
        If the login got a new token in the meantime.
    TokenUnreadable
        If no key decrypts its access token.
    """
    if login.access_token is None:
        return
    access_token = cipher.decrypt(login.access_token, provider_account_id=login.provider_account_id)

    async def call() -> bool:
        async with open_client(provider, endpoint, limiter) as client:
            return await give_up_access(client, access_token)

    try:
        had_access = asyncio.run(call())
    except ProviderCallFailed as failure:
        raise UnlinkFailed(provider.name, login.provider_account_id, failure.code) from None
    except ProviderRefused as refused:
        raise UnlinkFailed(provider.name, login.provider_account_id, refused.detail) from None
    is_unlinked = provider_accounts.unlink(
        db, login.provider_account_id, token_version=login.token_version, reason=reason
    )
    states = logins.find_states(db, [login.provider_account_id])
    if not is_unlinked and states.get(login.provider_account_id) != LoginState.UNLINKED:
        raise LinkedMeanwhile(login.provider_account_id)
    log.info("%s: unlinked login %d, had access: %s", provider.name, login.provider_account_id, had_access)
